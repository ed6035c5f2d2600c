"""Clients: real households and demographics; simulated names, addresses and changes of both."""

import duckdb

from pipelines.demo.basics import Tx
from pipelines.demo.words import CITIES, FIRST_NAMES, LAST_NAMES

_INCOMES = (
    "['Under 15K', '15-24K', '25-34K', '35-49K', '50-74K', '75-99K', '100-124K', '125-149K', "
    "'150-174K', '175-199K', '200-249K', '250K+']"
)

# Who buys for the first time later than 20 days after the opening signs up then, before
# anything that names him; the others have been clients since 2016.
_CLIENTS = """
create table client as
with first as (
    select client_id, min(sold_at) as sold_at, min(ordered_at) as ordered_at
    from delivered group by client_id
), seen as (
    select client_id, min(seen_at) as seen_at from ev_client_interaction group by client_id
), known as (
    select f.*, least(f.ordered_at, s.seen_at) as named_at,
        md5_number('client' || f.client_id) as dice
    from first f left join seen s on s.client_id = f.client_id
)
select k.client_id, k.dice, d.age as age_band, d.income as income_band, d.household_size,
    d.kids_count as kids,
    case when k.sold_at > opening() + to_days(20)
        then k.named_at - seconds(600, 7200, roll(dice, 0))
        else timestamp '2016-01-01' + seconds(0, 26000000, fine(dice, 0)) end as created_at
from known k left join demographic d on d.household_id = k.client_id
"""

# In a year 12 % change their e-mail address, 8 % move, 3 % (a ninth of those whose income is
# known) rise or fall by an income band. Never within a day of signing up.
_CHANGES = """
create table client_change as
with chance as (
    select c.*, t.*, md5_number(t.kind || c.client_id) as throw
    from client c, (values
        (1, 'email', 0.12), (2, 'move', 0.08), (3, 'income', 0.09)) t(step, kind, share)
)
select client_id, kind, step, partway(greatest(created_at, opening()) + to_days(1),
    closing() - to_days(1), fine(throw, 0)) as commit_at
from chance
where roll(throw, 4) < share and created_at < closing() - to_days(4)
    and (kind <> 'income' or income_band is not null)
"""

_EVENTS = f"""
create table ev_client as
with words as (
    select {FIRST_NAMES!r} as first_names, {LAST_NAMES!r} as last_names,
        {[city for city, _ in CITIES]!r} as cities, {[area for _, area in CITIES]!r} as areas,
        ['example.com', 'example.org', 'example.net'] as domains, {_INCOMES} as incomes
), moment as (
    select client_id, created_at as commit_at, 0 as step, 'c' as op from client
    union all
    select client_id, commit_at, step, 'u' from client_change
), state as (
    select *, count(*) filter (step = 1) over so_far as emails,
        count(*) filter (step = 2) over so_far as moves,
        count(*) filter (step = 3) over so_far as incomes_changed
    from moment
    window so_far as (partition by client_id order by commit_at, step rows unbounded preceding)
), told as (
    select s.commit_at, s.op, s.step, s.emails, c.*,
        first_names[1 + floor(roll(dice, 2) * len(first_names))::integer] as first_name,
        last_names[1 + floor(roll(dice, 3) * len(last_names))::integer] as last_name,
        1 + (floor(roll(dice, 4) * len(cities))::integer + s.moves * 11) % len(cities) as place,
        (floor(roll(dice, 5) * 100)::integer + s.moves * 37) % 100 as line_number,
        domains[1 + (floor(roll(dice, 6) * 3)::integer + s.emails) % 3] as domain,
        case when s.incomes_changed = 0 then c.income_band
            else incomes[greatest(1, least(len(incomes), list_position(incomes, c.income_band)
                + case when c.income_band = 'Under 15K' or
                    (roll(dice, 7) < 0.7 and c.income_band <> '250K+') then 1 else -1 end))]
        end as income_now, cities, areas
    from state s join client c on c.client_id = s.client_id, words
)
select case when op = 'c' then commit_time(commit_at, dice) else commit_at end as commit_at,
    {Tx.CLIENT} as tx_kind, client_id * 4 + step as tx_id, op, client_id,
    first_name || ' ' || last_name as full_name,
    lower(case when emails = 0 then first_name || '.' || last_name else first_name[1] || last_name
        end) || client_id || '@' || domain as email,
    '+1-' || areas[place] || '-555-01' || lpad(line_number::varchar, 2, '0') as phone,
    age_band, income_now as income_band, household_size, kids, cities[place] as city, created_at
from told
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the events of client, from `delivered` and the interactions."""
    for statement in (_CLIENTS, _CHANGES, _EVENTS):
        con.execute(statement)
