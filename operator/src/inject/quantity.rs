//! Quantities of Kubernetes (k8s.io/apimachinery, resource.Quantity): read and compared, never printed.

use std::{cmp::Ordering, str::FromStr};

/// A quantity, exactly: `mantissa * 10^exponent`.
///
/// # Guarantees
/// The mantissa has no trailing zeros, and 0 has the exponent 0: equal ones look equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    mantissa: i128,
    exponent: i32,
}

/// The text is no quantity, or one beyond what is ever meant: more than 38 digits, or an exponent of
/// more than three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no quantity")]
pub(super) struct NoQuantity;

impl Quantity {
    pub(super) const ZERO: Self = Self {
        mantissa: 0,
        exponent: 0,
    };

    pub(super) const fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    fn new(mantissa: i128, exponent: i32) -> Self {
        let (mut mantissa, mut exponent) = (mantissa, exponent);
        if mantissa == 0 {
            return Self::ZERO;
        }
        if exponent < NANO {
            // What is finer than a billionth is rounded away from zero, as by Kubernetes.
            mantissa = away_from_zero(mantissa, exponent.abs_diff(NANO));
            exponent = NANO;
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        Self { mantissa, exponent }
    }

    const fn negated(self) -> Self {
        Self {
            mantissa: -self.mantissa,
            exponent: self.exponent,
        }
    }

    /// The place of the first digit.
    fn magnitude(self) -> i64 {
        let digits = self.mantissa.unsigned_abs().checked_ilog10().unwrap_or(0);
        i64::from(digits) + i64::from(self.exponent)
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        let sizes = || {
            let sizes = self.magnitude().cmp(&other.magnitude());
            sizes.then_with(|| compare_digits(*self, *other))
        };
        match (signs, self.mantissa.signum()) {
            (Ordering::Equal, 0) => Ordering::Equal,
            (Ordering::Equal, 1) => sizes(),
            (Ordering::Equal, _) => sizes().reverse(),
            (different, _) => different,
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares two of the same magnitude by their digits, without the sign.
fn compare_digits(a: Quantity, b: Quantity) -> Ordering {
    let (x, y) = (a.mantissa.unsigned_abs(), b.mantissa.unsigned_abs());
    // One of them gets zeros, to as many digits as the other has. What is beyond 128 bits then is the larger one.
    let zeros = |of: Quantity, to: Quantity| {
        let places = u32::try_from(of.exponent.saturating_sub(to.exponent)).unwrap_or(0);
        10_u128.pow(places)
    };
    let (x, y) = (x.saturating_mul(zeros(a, b)), y.saturating_mul(zeros(b, a)));
    x.cmp(&y)
}

fn away_from_zero(mantissa: i128, places: u32) -> i128 {
    let Some(unit) = 10_i128.checked_pow(places) else {
        return mantissa.signum();
    };
    let whole = mantissa / unit;
    if mantissa % unit == 0 {
        whole
    } else {
        whole + mantissa.signum()
    }
}

impl FromStr for Quantity {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(NoQuantity);
        }
        let fraction = fraction.trim_end_matches('0');
        let mut mantissa = 0_i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = i128::from(digit - b'0');
            let shifted = mantissa.checked_mul(10).ok_or(NoQuantity)?;
            mantissa = shifted.checked_add(digit).ok_or(NoQuantity)?;
        }
        let places = i32::try_from(fraction.len()).ok().ok_or(NoQuantity)?;
        let quantity = match Suffix::parse(suffix)? {
            Suffix::Decimal(exponent) => Self::new(mantissa, exponent - places),
            Suffix::Binary(shift) => binary(mantissa, shift, places)?,
        };
        Ok(if negative {
            quantity.negated()
        } else {
            quantity
        })
    }
}

/// `mantissa * 2^shift * 10^-places`, and at most 2^63-1, which is where Kubernetes cuts off.
fn binary(mantissa: i128, shift: u32, places: i32) -> Result<Quantity, NoQuantity> {
    let most = Quantity::new(i128::from(i64::MAX), 0);
    match mantissa.checked_mul(1 << shift) {
        Some(mantissa) => Ok(Quantity::new(mantissa, -places).min(most)),
        None if places == 0 => Ok(most),
        None => Err(NoQuantity),
    }
}

enum Suffix {
    /// A power of ten.
    Decimal(i32),
    /// A power of two.
    Binary(u32),
}

impl Suffix {
    fn parse(text: &str) -> Result<Self, NoQuantity> {
        Ok(match text {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => {
                let exponent = text.strip_prefix(['e', 'E']).ok_or(NoQuantity)?;
                // A sign and digits, as Rust reads it too.
                let exponent = exponent.parse().ok().ok_or(NoQuantity)?;
                if !(-LARGEST_EXPONENT..=LARGEST_EXPONENT).contains(&exponent) {
                    return Err(NoQuantity);
                }
                Self::Decimal(exponent)
            }
        })
    }
}

/// The finest that Kubernetes keeps.
const NANO: i32 = -9;
const LARGEST_EXPONENT: i32 = 999;

#[cfg(test)]
mod tests;
