-- One statement, so one transaction and one round trip: a connection lost at any moment
-- leaves no open transaction behind that would hold the cursor's lock. The inserts read
-- the cursor's update: if it hit no row, they insert nothing.
WITH moved AS (
    UPDATE relay_cursor SET seq = $3, updated_at = now()
    WHERE journal_id = $1 AND seq = $2
    RETURNING seq
), placed AS (
    INSERT INTO orders (order_id, client_order_id, user_id, symbol, side, type, quantity,
                        price, status, filled, journal_seq, changed_seq, created_at)
    SELECT u.order_id, u.client_order_id, u.user_id, u.symbol, u.side, u.type, u.quantity,
           u.price, u.status, u.filled, u.journal_seq, u.changed_seq,
           to_timestamp(u.created_us / 1000000.0)
    FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[],
                $15::bigint[], $16::bigint[])
         AS u(order_id, client_order_id, user_id, symbol, side, type, quantity,
              price, status, filled, journal_seq, changed_seq, created_us)
    WHERE EXISTS (SELECT FROM moved)
    RETURNING order_id
), changed AS (
    UPDATE orders SET status = u.status, filled = u.filled, changed_seq = u.changed_seq
    FROM unnest($17::bigint[], $18::text[], $19::bigint[], $20::bigint[])
         AS u(order_id, status, filled, changed_seq)
    WHERE orders.order_id = u.order_id AND EXISTS (SELECT FROM moved)
    RETURNING orders.order_id
), traded AS (
    INSERT INTO trades (trade_id, symbol, price, quantity, taker_side, maker_order_id,
                        taker_order_id, journal_seq, executed_at)
    SELECT u.trade_id, u.symbol, u.price, u.quantity, u.taker_side, u.maker_order_id,
           u.taker_order_id, u.journal_seq, to_timestamp(u.executed_us / 1000000.0)
    FROM unnest($21::bigint[], $22::text[], $23::bigint[], $24::bigint[], $25::text[],
                $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[])
         AS u(trade_id, symbol, price, quantity, taker_side, maker_order_id, taker_order_id,
              journal_seq, executed_us)
    WHERE EXISTS (SELECT FROM moved)
    RETURNING trade_id
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM placed),
       (SELECT count(*) FROM changed), (SELECT count(*) FROM traded)
