-- One statement, so one transaction and one round trip: a connection lost at any moment
-- leaves no open transaction behind that would hold the cursor's lock. The inserts read
-- the cursor's update: if it hit no row, they insert nothing.
WITH moved AS (
    UPDATE relay_cursor SET seq = $3, updated_at = now()
    WHERE journal_id = $1 AND seq = $2
    RETURNING seq
), placed AS (
    INSERT INTO orders (order_id, quantity, price, status, filled, value, end_reason, changed_seq,
                        replaced_seq, client_order_id, user_id, symbol, side, type, time_in_force,
                        post_only, journal_seq, created_at)
    SELECT u.order_id, u.quantity, u.price, u.status, u.filled, u.value, u.end_reason, u.changed_seq,
           u.replaced_seq, u.client_order_id, u.user_id, u.symbol, u.side, u.type, u.time_in_force,
           u.post_only, u.journal_seq, to_timestamp(u.created_us / 1000000.0)
    FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[],
                $10::text[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
                $16::text[], $17::text[], $18::text[], $19::boolean[], $20::bigint[], $21::bigint[])
         AS u(order_id, quantity, price, status, filled, value, end_reason, changed_seq,
              replaced_seq, client_order_id, user_id, symbol, side, type, time_in_force,
              post_only, journal_seq, created_us)
    WHERE EXISTS (SELECT FROM moved)
    RETURNING order_id
), changed AS (
    UPDATE orders SET quantity = u.quantity, price = u.price, status = u.status, filled = u.filled,
                      value = u.value, end_reason = u.end_reason, changed_seq = u.changed_seq,
                      replaced_seq = coalesce(u.replaced_seq, orders.replaced_seq)
    FROM unnest($22::bigint[], $23::bigint[], $24::bigint[], $25::text[], $26::bigint[],
                $27::bigint[], $28::text[], $29::bigint[], $30::bigint[])
         AS u(order_id, quantity, price, status, filled, value, end_reason, changed_seq,
              replaced_seq)
    WHERE orders.order_id = u.order_id AND EXISTS (SELECT FROM moved)
    RETURNING orders.order_id
), traded AS (
    INSERT INTO trades (trade_id, symbol, price, quantity, taker_side, maker_order_id,
                        taker_order_id, journal_seq, executed_at)
    SELECT u.trade_id, u.symbol, u.price, u.quantity, u.taker_side, u.maker_order_id,
           u.taker_order_id, u.journal_seq, to_timestamp(u.executed_us / 1000000.0)
    FROM unnest($31::bigint[], $32::text[], $33::bigint[], $34::bigint[], $35::text[],
                $36::bigint[], $37::bigint[], $38::bigint[], $39::bigint[])
         AS u(trade_id, symbol, price, quantity, taker_side, maker_order_id, taker_order_id,
              journal_seq, executed_us)
    WHERE EXISTS (SELECT FROM moved)
    RETURNING trade_id
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM placed),
       (SELECT count(*) FROM changed), (SELECT count(*) FROM traded)
