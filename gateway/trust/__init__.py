"""What the gateway tells a backend: assertions, and the keys that sign them."""
