//! regatta runs tests on *instances*: containers, chroots, machines, batch jobs, isolated local processes.

pub mod attachment;
pub mod event;
pub mod summary;
pub mod test_id;
pub mod wire;
