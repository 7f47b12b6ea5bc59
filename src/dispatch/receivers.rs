//! Who an event is for, as a set of bits: each subscription has one, and the export has the last.

use std::fmt;

/// The receivers of one event, or those of them that lack it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Receivers(u64);

/// Most subscriptions of one run: each has a bit, and the export has one.
pub const SUBSCRIPTIONS_MAX: usize = 63;

impl Receivers {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// The export alone: the events' file is a receiver like any other.
    pub const EXPORT: Self = Self(1 << SUBSCRIPTIONS_MAX);

    /// The subscription of this number alone.
    #[expect(clippy::missing_panics_doc, reason = "a dispatcher takes no more subscriptions than there are bits")]
    pub fn of(subscription: usize) -> Self {
        assert!(subscription < SUBSCRIPTIONS_MAX, "no more subscriptions are taken than there are bits");
        Self(1 << subscription)
    }

    /// The number of the only one among them, as the journal has it.
    pub(super) fn number(self) -> u8 {
        u8::try_from(self.0.trailing_zeros()).expect("at most the number of bits")
    }

    /// The one of this number; `None` beyond the bits.
    pub fn numbered(number: u8) -> Option<Self> {
        1_u64.checked_shl(u32::from(number)).map(Self)
    }

    /// For storing.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Each of them alone.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (0..u64::BITS).map(|bit| Self(1 << bit)).filter(move |one| self.contains(*one))
    }

    /// Whether there is nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are among them.
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Both.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are not among `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
