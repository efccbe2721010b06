-- No unique constraint on client_order_id: whoever audits the exchange must be able to see
-- a duplicate, and a constraint would hide the fault that made it.
CREATE TABLE IF NOT EXISTS orders (
    order_id        bigint PRIMARY KEY,
    client_order_id text NOT NULL,
    user_id         text NOT NULL,
    symbol          text NOT NULL,
    side            text NOT NULL,
    type            text NOT NULL,
    time_in_force   text NOT NULL,
    post_only       boolean NOT NULL,
    -- Quantity and price as last replaced, and the record that did, if one did.
    quantity        bigint NOT NULL,
    price           bigint,
    replaced_seq    bigint,
    status          text NOT NULL,
    filled          bigint NOT NULL,
    -- What the filled lots cost, in ticks times lots.
    value           bigint NOT NULL,
    -- Why it ended before all of it traded.
    end_reason      text,
    journal_seq     bigint NOT NULL,
    changed_seq     bigint NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_client_order_id ON orders (client_order_id text_pattern_ops);
CREATE TABLE IF NOT EXISTS trades (
    trade_id       bigint PRIMARY KEY,
    symbol         text NOT NULL,
    price          bigint NOT NULL,
    quantity       bigint NOT NULL,
    taker_side     text NOT NULL,
    maker_order_id bigint NOT NULL,
    taker_order_id bigint NOT NULL,
    journal_seq    bigint NOT NULL,
    executed_at    timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS relay_cursor (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    journal_id text NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
