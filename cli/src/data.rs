//! The names in a data directory.

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
/// The directory of exports.
pub const EXPORTS: &str = "exports";
