#!/bin/sh
# Creates the passwords of the other containers, once, and gives each container those that it needs.
# With names of devices, it also creates a user of the broker for each of them: docs/containers.md
set -eu
umask 077
new() { # FILE: a password of 32 random characters
  [ -s "/secrets/$1" ] || { head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"/secrets/$1.part" && mv "/secrets/$1.part" "/secrets/$1"; }
}
give() { # CONTAINER OWNER FILE...: in a volume that this container alone has, readable by its user only
  to="/secrets/for/$1" owner="$2"
  shift 2
  for file; do
    cp "/secrets/$file" "$to/$file.part" && chown "$owner" "$to/$file.part" && mv "$to/$file.part" "$to/$file"
  done
  chmod 0711 "$to"
}
for name; do
  case "$name" in
    *[!A-Za-z0-9_-]* | '' | fleet | device)
      echo "$name: name a further device with letters, digits, _ and -, other than fleet and device" >&2
      exit 2
      ;;
  esac
done
new token     # page and API of the device
new device    # the device at the broker
new fleet     # edge-fleet at the broker
new postgres  # edge-fleet at the database
new grafana   # the user admin of Grafana
new reader    # Grafana at the database
mkdir -p /secrets/devices
for name; do new "devices/$name"; done
# Users of the broker: the device of this file, the server, and further devices by their names.
: >/secrets/passwd.part
for user in device fleet; do printf '%s:%s\n' "$user" "$(cat "/secrets/$user")" >>/secrets/passwd.part; done
for file in /secrets/devices/*; do
  [ ! -f "$file" ] || printf '%s:%s\n' "${file##*/}" "$(cat "$file")" >>/secrets/passwd.part
done
mosquitto_passwd -U /secrets/passwd.part
mv /secrets/passwd.part /secrets/passwd
cp /fleet.acl /secrets/acl
give edge 10001 token device
give mosquitto 1883:1883 passwd acl
give prometheus 65534 token
give grafana 472 grafana reader
give postgres 70 postgres reader
give fleet 10001 fleet postgres
