-- psql reads the password itself, so that it is in no list of processes.
\set password `cat /secrets/reader`
SELECT 'CREATE ROLE grafana' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') \gexec
ALTER ROLE grafana WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
ALTER ROLE grafana SET default_transaction_read_only = on;
\ir grants.sql
