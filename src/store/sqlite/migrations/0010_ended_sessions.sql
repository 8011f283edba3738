-- Sessions of the page that ended before their time, until that has passed: whoever kept the cookie stays outside.
create table tikkun_ended_sessions (
    mark text primary key,
    holds_until text not null
);
