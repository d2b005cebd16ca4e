#!/bin/sh
# Creates the role with which Grafana reads the database, with the password of the first start. Safe to repeat.
set -eu
PGPASSWORD="$(cat /secrets/postgres)" exec psql --no-psqlrc --quiet --single-transaction -v ON_ERROR_STOP=1 -f /reader.sql
