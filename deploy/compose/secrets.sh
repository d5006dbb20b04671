#!/bin/sh
# Make the secrets of compose.yaml. What is there already is kept: a new password would lock the database's owner out.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
# Compose mounts these files as they are. The directory keeps this machine's other users out; the files themselves can
# be read by the container's user, who has no account here.
chmod 700 secrets
umask 022
[ -e secrets/signing.pem ] || openssl ecparam -name prime256v1 -genkey -noout -out secrets/signing.pem
[ -e secrets/database_password ] || openssl rand -hex 24 > secrets/database_password
rm -f secrets/agent_backend_database__url
printf 'postgresql://agent:%s@db/agent\n' "$(cat secrets/database_password)" > secrets/agent_backend_database__url
chmod 444 secrets/*
echo "secrets are in $(pwd)/secrets"
