"""A private git server over HTTPS at a documentation address, in a network namespace of its own.

`git http-backend` does the work; one user with one token may read. Its certificate is signed by an authority
that was made for it, so that a workspace trusts it only if an administrator saw to that.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT = 8443
USER = "alice"


class GitServer:
    """Two ends of a cable, with addresses of 203.0.113.0/24 that nobody else uses."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder = folder
        self.token = token
        self.log = folder / "requests.log"
        taken = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=True).stdout
        blocks = [4 * number for number in range(1, 63) if f"203.0.113.{4 * number + 1}/" not in taken]
        first = secrets.choice(blocks)
        self._near, self.address = f"203.0.113.{first + 1}", f"203.0.113.{first + 2}"
        mark = secrets.token_hex(3)
        self._netns, self._cable = f"pth-git-{mark}", f"pthg{mark}"
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the repository."""
        return f"https://{self.address}:{PORT}/team/paper.git"

    @property
    def authority(self) -> Path:
        """The certificate that an administrator has to bring into the workspaces."""
        return self.folder / "authority.crt"

    def open(self) -> None:
        """Make certificates, a repository and the network; wait until it answers."""
        self._make_certificates()
        self._make_repository()
        inside = f"ip -n {self._netns}"
        for command in (
            f"ip netns add {self._netns}",
            f"ip link add {self._cable} type veth peer name git0 netns {self._netns}",
            f"ip addr add {self._near}/30 dev {self._cable}", f"ip link set {self._cable} up",
            f"{inside} addr add {self.address}/30 dev git0", f"{inside} link set git0 up",
            f"{inside} link set lo up", f"{inside} route add default via {self._near}",
        ):  # fmt: skip
            subprocess.run(command.split(), check=True)
        self._server = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self._netns}", sys.executable, __file__, str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(f"{self.token}\n".encode())
        self._server.stdin.close()
        assert self._server.stdout.readline() == b"listening\n"

    def close(self) -> None:
        """End it; namespace and cable go."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        subprocess.run(["ip", "netns", "del", self._netns], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._cable], check=False, capture_output=True)

    def _make_certificates(self) -> None:
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        now = datetime.now(UTC)

        def builder(subject: x509.Name) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(authority)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=1))
            )

        signed = (
            builder(authority)
            .public_key(authority_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        address = x509.IPAddress(ipaddress.ip_address(self.address))
        server = (
            builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.address)]))
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.authority.write_bytes(signed.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / "server.pem").write_bytes(server.public_bytes(pem) + private)

    def _make_repository(self) -> None:
        work, bare = self.folder / "work", self.folder / "git" / "team" / "paper.git"
        work.mkdir()
        (work / "README").write_text("read me\n")
        bare.parent.mkdir(parents=True)
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run(["git", *who, *command], cwd=work, check=True)
        subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)


class _Handler(BaseHTTPRequestHandler):
    """The CGI side of `git http-backend`."""

    folder: Path
    expected: str

    def do_GET(self) -> None:
        """Both methods that git uses."""
        if self.headers.get("Authorization", "") != self.expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        headers = {
            "CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_ENCODING": "Content-Encoding",
            "GIT_PROTOCOL": "Git-Protocol",
        }  # fmt: skip
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, check=True,
            env={
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.folder / "git"), "REMOTE_USER": USER,
                "GIT_HTTP_EXPORT_ALL": "1", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*", "PATH_INFO": path, "QUERY_STRING": query,
                "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body)),
                **{name: self.headers[header] for name, header in headers.items() if header in self.headers},
            },
        )  # fmt: skip
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        with (self.folder / "requests.log").open("a") as log:
            log.write(f"{time.time():.3f} {self.requestline} {args[1] if len(args) > 1 else ''}\n")


def main(folder: Path) -> None:
    """Serve until killed; the token comes by standard input."""
    token = sys.stdin.readline().strip()
    _Handler.folder = folder
    _Handler.expected = "Basic " + base64.b64encode(f"{USER}:{token}".encode()).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = ThreadingHTTPServer(("0.0.0.0", PORT), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
