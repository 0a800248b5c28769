//! The names in a data directory, and where the local server listens.

/// The directory, if none is given.
pub const DIRECTORY: &str = ".tickets";
/// The embedded engine's database.
pub const DATABASE: &str = "tickets.db";
/// Held by the process that opened the database. It says how others reach it.
pub const LOCK: &str = "lock";
/// The development key.
pub const DEV_KEY: &str = "dev-key";
/// The variables that a shell needs to start a function against the database.
pub const ENVIRONMENT: &str = "env";
/// The local server's address, if none is given.
pub const ADDRESS: &str = "127.0.0.1:3000";
/// The directory of exports.
pub const EXPORTS: &str = "exports";
