-- The role that rosetta writes with. It makes schemas and tables by itself.
\set password `printenv SAMPLE_PASSWORD`

CREATE ROLE rosetta LOGIN PASSWORD :'password';
GRANT CREATE ON DATABASE :"DBNAME" TO rosetta;
-- So that triggers and foreign keys rest while changes are applied (PostgreSQL 15 and newer).
GRANT SET ON PARAMETER session_replication_role TO rosetta;
