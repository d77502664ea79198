#!/bin/sh
# Makes both pairs anew. "openssl ca" rather than "req -x509", for it can date a certificate back:
# tests must not fail on a machine whose clock is behind that of the machine this ran on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > ca.cnf <<'END'
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = names
x509_extensions = extensions
[names]
commonName = supplied
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
END
for name in server other; do
    : > index.txt
    openssl req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout $name.key -out $name.csr
    openssl ca -config ca.cnf -selfsign -batch -notext -keyfile $name.key -in $name.csr \
        -startdate 20200101000000Z -enddate 21200101000000Z -out $name.pem
    cp $name.key $name.pem "$here"
done
