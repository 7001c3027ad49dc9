//! The table of the module's page, row by row ([`table`]), and random histories ([`world`]).

mod table;
mod world;
