#!/bin/sh
# Creates the passwords of the other containers, once. Each file is readable by its user only.
set -eu
umask 077
new() { # FILE OWNER: a password of 32 random characters
  [ -s "/secrets/$1" ] || { head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"/secrets/$1.part" && mv "/secrets/$1.part" "/secrets/$1"; }
  chown "$2" "/secrets/$1"
}
chmod 0711 /secrets
new token 10001        # page and API of the device
new device 10001       # the device at the broker
new fleet 10001        # edge-fleet at the broker
new postgres 10001     # edge-fleet at the database
new grafana 472        # the user admin of Grafana
new reader 70          # Grafana at the database
# The database reads its own copy, and Prometheus and Grafana theirs.
for copy in "postgres postgres-server 70" "reader reader-grafana 472" "token token-prometheus 65534"; do
  set -- $copy
  cp "/secrets/$1" "/secrets/$2" && chown "$3" "/secrets/$2"
done
if [ ! -s /secrets/passwd ]; then
  for user in device fleet; do
    printf '%s:%s\n' "$user" "$(cat "/secrets/$user")"
  done >/secrets/passwd.part
  mosquitto_passwd -U /secrets/passwd.part
  mv /secrets/passwd.part /secrets/passwd
fi
# A copy, because Mosquitto wants a file that its user alone reads.
cp /fleet.acl /secrets/acl
chown 1883:1883 /secrets/passwd /secrets/acl
