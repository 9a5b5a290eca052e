-- One burst of shop life: a few hundred changes in five transactions. Run it as often as you like.
insert into customers (email, name, country)
select 'guest-' || md5(random()::text || clock_timestamp()) || '@example.com', 'Guest', 'NO' from generate_series(1, 5);

with ordered as (
    insert into orders (customer_id, placed_at)
    select 1 + (random() * 4999)::int, clock_timestamp() from generate_series(1, 40)
    returning id
)
insert into items (order_id, line, product_id, quantity, price)
select o.id, l, p.id, 1 + l % 3, p.price
from ordered o cross join generate_series(1, 3) l
join products p on p.id = 1 + (o.id * 31 + l * 101) % 1000;

update orders set status = 'paid'
where id in (select id from orders where status = 'new' order by id desc limit 30);

update products set stock = stock - 1, price = price + 0.01
where id in (select 1 + (random() * 999)::int from generate_series(1, 40));

delete from orders where id in (select id from orders where status = 'returned' order by id limit 5);
