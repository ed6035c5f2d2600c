#!/bin/sh
# Makes what Trino's door needs: a certificate, signed by an authority that stays, and hashed passwords.
set -eu
umask 077
cd "$TRINO_ACCESS"

# Whom clients trust: ca.pem.
if [ ! -e ca.pem ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lakehouse \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout ca.key -out ca.pem.new 2>openssl.log || { cat openssl.log >&2; exit 1; }
    mv ca.pem.new ca.pem
fi
extensions=$(mktemp)
cat >"$extensions" <<END
subjectAltName=DNS:$TRINO_NAME,DNS:localhost,IP:127.0.0.1
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
END
openssl req -newkey rsa:2048 -nodes -subj "/CN=$TRINO_NAME" -keyout server.key -out server.csr \
    2>openssl.log || { cat openssl.log >&2; exit 1; }
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 \
    -extfile "$extensions" -out server.crt 2>openssl.log || { cat openssl.log >&2; exit 1; }
cat server.key server.crt >server.pem

# $1: user, $2: password; a line as Trino's file of passwords has it: iterations, salt, PBKDF2 with
# SHA-1, the one digest that Trino knows there.
line() {
    salt=$(openssl rand -hex 16)
    hash=$(openssl kdf -keylen 20 -kdfopt digest:SHA1 -kdfopt "pass:$2" -kdfopt "hexsalt:$salt" \
        -kdfopt iter:100000 PBKDF2 | tr -d : | tr A-F a-f)
    echo "$1:100000:$salt:$hash"
}
{
    line admin "$TRINO_ADMIN_PASSWORD"
    line dbt "$TRINO_DBT_PASSWORD"
    line analyst "$TRINO_ANALYST_PASSWORD"
} >passwords

chmod 644 ca.pem
# Trino runs as another user than this.
if [ "$(id -u)" = 0 ]; then chown "$TRINO_UID" server.pem passwords; fi
