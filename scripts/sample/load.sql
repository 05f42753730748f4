-- For pgbench: an order in one of the 20 stores, with its lines; an older one changes, sometimes a line goes.
\set store random(1, 20)
\set customer random(1, 100)
\set product random(1, 47)
\set older random(1, 200)
BEGIN;
INSERT INTO store_:store.orders (customer_id) VALUES (:customer) RETURNING id AS placed \gset
INSERT INTO store_:store.order_lines VALUES (:placed, 1, :product, 1), (:placed, 2, :product + 1, 2), (:placed, 3, :product + 2, 3);
UPDATE store_:store.orders SET state = 'sent' WHERE id = :older;
DELETE FROM store_:store.order_lines WHERE order_id = :older AND line = 3;
INSERT INTO store_:store.audit (what, order_id) VALUES ('ordered', :placed), ('sent', :older);
COMMIT;
