-- The image's entry point runs this once, when the volume is empty. As in local mode, the owner
-- defines the tables and the service only uses them.

\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD

CREATE ROLE registry_owner LOGIN CREATEDB PASSWORD :'owner_password';
CREATE ROLE registry LOGIN PASSWORD :'service_password';
CREATE DATABASE registry OWNER registry_owner;
REVOKE ALL ON DATABASE registry FROM PUBLIC;
GRANT CONNECT ON DATABASE registry TO registry;
