create role tax login;
create table filings (receipt bigserial primary key, form text not null, host text not null);
grant select, insert on filings to tax;
grant usage on sequence filings_receipt_seq to tax;
