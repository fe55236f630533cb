"""How the token endpoint refuses."""


class TokenRefused(Exception):
    """An error of RFC 6749 section 5.2 or RFC 8693 section 2.2.2; the description never repeats the request."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
