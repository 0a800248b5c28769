//! Where the local server listens, and the names in its data directory.

/// The local server's address, if none is given.
pub const ADDRESS: &str = "127.0.0.1:3000";

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
