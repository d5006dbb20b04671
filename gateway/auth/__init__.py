"""Who is calling? Credentials, keys, verification, the cross-site rule."""
