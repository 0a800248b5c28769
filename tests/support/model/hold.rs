//! What a test stops by hand, and lets go on when it likes: so a schedule is written down, not drawn.

use std::time::Duration;

use tokio::sync::watch;

/// Where a hold stops a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before its effect.
    Effect,
    /// Between its effect and its answer.
    Answer,
    /// Between its effect and the indexes, which do not show it yet. It is answered.
    Indexes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No call has come here yet.
    Waiting,
    /// A call has stopped here.
    Stopped,
    Released,
    Killed,
}

/// Stops one call, the first that its [`Faults`](super::Faults) concern, until the test decides how it goes on.
#[derive(Debug, Clone)]
pub struct Hold {
    point: Point,
    state: watch::Sender<State>,
}

impl Hold {
    pub fn before(point: Point) -> Self {
        Self { point, state: watch::Sender::new(State::Waiting) }
    }

    /// Waits until a call has stopped here.
    pub async fn reached(&self) {
        let mut state = self.state.subscribe();
        let reached = state.wait_for(|state| *state != State::Waiting);
        // On a paused clock this takes no time, and a test that would wait for ever says so.
        let reached = tokio::time::timeout(Duration::from_secs(3600), reached).await;
        reached.expect("a call that stops").expect("a sender");
    }

    /// Lets the call go on.
    pub fn release(&self) {
        self.state.send_replace(State::Released);
    }

    /// Lets the caller die here.
    pub fn kill(&self) {
        self.state.send_replace(State::Killed);
    }

    /// Whether this stops a call at this point.
    pub(super) fn stops(&self, point: Point) -> bool {
        point == self.point
            && self.state.send_if_modified(|state| {
                let first = *state == State::Waiting;
                if first {
                    *state = State::Stopped;
                }
                first
            })
    }

    /// Waits for the test. Returns whether the call goes on.
    pub(super) async fn goes_on(&self) -> bool {
        let mut state = self.state.subscribe();
        let ended = |state: &State| matches!(state, State::Released | State::Killed);
        state.wait_for(ended).await.is_ok_and(|state| *state == State::Released)
    }
}
