"""JSON web tokens (EdDSA): issue, verify, JWKS. One purpose each."""
