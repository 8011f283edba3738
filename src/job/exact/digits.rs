//! Python's notation of numbers.

/// The most digits of an integer; Python refuses to convert more to text.
pub const MOST_DIGITS: usize = 4300;

/// Whether this is a decimal number in Python: sign, digits, point and exponent, or `NaN` or `Infinity`.
pub(super) fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "Infinity" {
        return true;
    }
    if let Some(payload) = unsigned.strip_prefix("NaN").or_else(|| unsigned.strip_prefix("sNaN")) {
        return is_digits(payload);
    }
    let (digits, exponent) = unsigned.split_once(['E', 'e']).unwrap_or((unsigned, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let none = power.is_empty() || whole.is_empty() && part.is_empty();
    !none && power.len() <= 19 && is_digits(whole) && is_digits(part) && is_digits(power)
}

fn is_digits(text: &str) -> bool {
    text.len() <= MOST_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}
