//! How often a scenario does what it does.

/// In CI a few rounds on a machine that does other things, too; the full figure when asked for.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// The limits that the project promises are asserted. Otherwise only bounds that a busy machine keeps, too: what is
    /// shown then is that it works, not how fast.
    pub is_full: bool,
}

impl Effort {
    /// `in_ci` rounds, or as many as the variable `ROSETTA_TEST_ROUNDS` says.
    #[must_use]
    pub fn of(in_ci: usize) -> Effort {
        match std::env::var("ROSETTA_TEST_ROUNDS").ok() {
            None => Effort { rounds: in_ci, is_full: false },
            Some(text) => {
                let rounds = text.parse().unwrap_or_else(|_| panic!("ROSETTA_TEST_ROUNDS is not a number: {text}"));
                Effort { rounds, is_full: true }
            }
        }
    }
}
