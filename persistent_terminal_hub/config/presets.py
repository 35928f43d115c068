"""What is known in advance about each login provider: pure data, no imports of ours.

`settings.AuthSettings` takes its defaults from here; the hub's authenticator takes the endpoints of the
providers that publish no discovery document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Preset:
    """One kind of provider. An empty text means: not known in advance, or does not exist."""

    title: str
    #: Has an OpenID Connect discovery document at its issuer; otherwise the three URLs below are fixed.
    oidc: bool
    issuer: str = ""
    authorize_url: str = ""
    token_url: str = ""
    userdata_url: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    username_claim: str = "preferred_username"
    groups_claim: str = ""
    #: Its answer to a login says when the person last proved who they are (`auth_time`), so that a locked
    #: workspace may be opened by logging in again. Without it, a passkey must do.
    proves_fresh_login: bool = True
    #: Where an administrator gets a client id and a secret, as the rest of a sentence.
    register: str = ""


#: The providers that log in through OAuth; `local` is not among them.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "oauth2": Preset(
            title="the OpenID Connect provider",
            oidc=True,
            groups_claim="groups",
            register="register a confidential client (authorization code, PKCE) at your identity provider",
        ),
        "google": Preset(
            title="Google",
            oidc=True,
            issuer="https://accounts.google.com",
            username_claim="email",
            proves_fresh_login=False,  # its ID tokens have no `auth_time`
            register="create an OAuth client ID of type 'Web application' at "
            "https://console.cloud.google.com/apis/credentials",
        ),
        "github": Preset(
            title="GitHub",
            # GitHub's OAuth gives no ID token and has no discovery document.
            oidc=False,
            authorize_url="https://github.com/login/oauth/authorize",
            token_url="https://github.com/login/oauth/access_token",  # noqa: S106 - a URL, not a token
            userdata_url="https://api.github.com/user",
            scopes=("read:user",),
            username_claim="login",
            proves_fresh_login=False,
            register="register an OAuth app at https://github.com/settings/developers",
        ),
    }
)


def preset_of(provider: str) -> Preset:
    """The preset of a provider; `local` and unknown names get the generic one, whose addresses they ignore.

    (A local account proves a fresh login by its password, as a generic provider does by `auth_time`.)
    """
    return PRESETS.get(provider, PRESETS["oauth2"])
