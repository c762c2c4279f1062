CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS customer (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS cart (
    id TEXT PRIMARY KEY,
    coupon TEXT,
    address TEXT                 -- JSON, from the first step of the checkout
);

CREATE TABLE IF NOT EXISTS cart_line (
    cart_id TEXT NOT NULL REFERENCES cart (id) ON DELETE CASCADE,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 20),
    PRIMARY KEY (cart_id, product)
);

CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    customer_id TEXT REFERENCES customer (id),
    placed_at TEXT NOT NULL,
    address TEXT NOT NULL,
    coupon TEXT,
    subtotal INTEGER NOT NULL,
    discount INTEGER NOT NULL,
    shipping INTEGER NOT NULL,
    delivered_at TEXT
);

CREATE TABLE IF NOT EXISTS order_line (
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price INTEGER NOT NULL,
    PRIMARY KEY (order_id, product)
);

CREATE TABLE IF NOT EXISTS review (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id),
    product TEXT NOT NULL,
    author TEXT NOT NULL,
    stars INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    body TEXT NOT NULL,
    written_at TEXT NOT NULL,
    UNIQUE (order_id, product)
);
CREATE INDEX IF NOT EXISTS review_by_product ON review (product, written_at);
