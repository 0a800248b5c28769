//! Which tickets a key can see: the only mechanism that restricts a key to one customer.

use crate::error::{Error, Result};
use crate::id::CustomerId;

/// Which tickets the caller can see. Every repository call on tickets takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    All,
    /// Only this customer's tickets. All others look as if they had never existed.
    Only(CustomerId),
}

impl Visibility {
    /// The visibility of a key that is restricted to a customer, or to none.
    pub fn of(restricted_to: Option<CustomerId>) -> Self {
        restricted_to.map_or(Self::All, Self::Only)
    }

    /// Whether this customer's tickets can be seen.
    pub fn includes(self, customer: CustomerId) -> bool {
        match self {
            Self::All => true,
            Self::Only(own) => own == customer,
        }
    }

    /// Refuses to give a ticket to a customer whose tickets the caller cannot see.
    ///
    /// # Errors
    /// [`Error::OtherCustomer`] with the customer the key is restricted to.
    pub fn admit(self, customer: CustomerId) -> Result<()> {
        match self {
            Self::Only(own) if own != customer => Err(Error::OtherCustomer(own)),
            Self::All | Self::Only(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_key_sees_one_customer_and_another_key_sees_all() {
        let [own, other] = [7, 8].map(|number: u64| CustomerId::try_from(number).unwrap());
        let restricted = Visibility::of(Some(own));
        assert!(restricted.includes(own) && !restricted.includes(other));
        assert!(restricted.admit(own).is_ok());
        assert!(matches!(restricted.admit(other), Err(Error::OtherCustomer(named)) if named == own));
        let all = Visibility::of(None);
        assert!(all.includes(own) && all.includes(other));
        assert!(all.admit(own).is_ok() && all.admit(other).is_ok());
    }
}
