//! The table of the module's page, row by row ([`table`]), what it does not show, and random histories ([`world`]).

mod table;
