// A real OpenID Connect provider on loopback. Accounts are data: argv[2] is JSON
// {port, redirect, accounts: {name: {claims}}}. Whoever types an account's name is logged in as that account.
import Provider from "oidc-provider";

const options = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${options.port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "pth",
      client_secret: process.env.CLIENT_SECRET,
      // A login's, and a fresh login's that unlocks a workspace.
      redirect_uris: [options.redirect, options.redirect.replace("/oauth_callback", "/reauth/callback")],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  // The point of the test: without a code challenge there is no code.
  pkce: { required: () => true },
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "groups"],
    email: ["email", "email_verified"],
  },
  conformIdTokenClaims: false,
  findAccount: (ctx, id) =>
    options.accounts[id] && {
      accountId: id,
      claims: () => ({ sub: id, ...options.accounts[id] }),
    },
});
provider.listen(options.port, "127.0.0.1", () => console.log(`listening on ${issuer}`));
