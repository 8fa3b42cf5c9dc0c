"""Who we are to a Prometheus that asks: read anew for each request, because secrets rotate."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from ops.errors import PrometheusError


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """At most one of two files, as the settings name them.

    Attributes:
        token_file: a bearer token, as proxies and some vendors want it.
        basic_auth_file: user:password, the only login that a Prometheus itself knows.
    """

    token_file: Path | None = None
    basic_auth_file: Path | None = None

    def headers(self) -> dict[str, str]:
        """The header that says it; none without a file.

        Raises:
            PrometheusError: the file cannot be read or holds something else; it is not told what.
        """
        if self.basic_auth_file is not None:
            pair = _line(self.basic_auth_file, "user and password")
            if not pair.partition(":")[2]:
                raise PrometheusError(
                    f"basic auth file {self.basic_auth_file} holds no user:password; write one "
                    "line of that form"
                )
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}
        if self.token_file is None:
            return {}
        token = _line(self.token_file, "token")
        if not token.isascii() or " " in token:
            raise PrometheusError(
                f"token file {self.token_file} holds no token of one line; write only the token"
            )
        return {"Authorization": f"Bearer {token}"}

    def step(self) -> str:
        """What a person does who is refused."""
        if self.basic_auth_file is not None:
            return f"user and password of {self.basic_auth_file} are not accepted; renew them"
        if self.token_file is not None:
            return f"the token of {self.token_file} is not accepted; renew it"
        return (
            "give a file with a bearer token (--token-file; in settings tokenFile), or with "
            "user:password (in settings basicAuthFile)"
        )


def _line(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PrometheusError(
            f"{what} file {path} cannot be read: {error}; check path and rights"
        ) from error
    if not text or not text.isprintable():
        raise PrometheusError(f"{what} file {path} holds no {what} of one line; write only that")
    return text
