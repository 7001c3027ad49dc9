//! Durations as testr writes them, `str(float)`, and as it reads them, `float(bytes)`.  (pure)
//!
//! Called by [`super::dumb`] only.

/// The longest text that [`format`] makes, in bytes: `-2.2250738585072014e-308`.
pub(super) const LONGEST: usize = 24;

/// Write seconds as Python's `str(float)`: `0.25`, `1e-05`, `0.0`. They must be a number.
pub(super) fn format(seconds: f64) -> String {
    // Python's own limits between its two ways of writing. The digits are the shortest that read back the same.
    let text = if seconds == 0.0 || (1e-4..1e16).contains(&seconds.abs()) {
        format!("{seconds:?}")
    } else {
        let scientific = format!("{seconds:e}");
        let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    };
    debug_assert!(text.len() <= LONGEST, "{text}");
    text
}

/// Read seconds as Python's `float` would; nothing for what is not a finite number.
pub(super) fn parse(value: &[u8]) -> Option<f64> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    seconds.is_finite().then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_python_s_str() {
        for (seconds, text) in [
            (0.0, "0.0"),
            (0.25, "0.25"),
            (1e-5, "1e-05"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (3.0, "3.0"),
            (-1.0, "-1.0"),
            (-2e-5, "-2e-05"),
            (0.000_099_999_999_999_999_99, "9.999999999999999e-05"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (123_456.789_012, "123456.789012"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
        ] {
            assert_eq!(format(seconds), text);
        }
    }

    #[test]
    fn what_is_no_finite_number_is_nothing() {
        assert_eq!(parse(b" 1.5\n"), Some(1.5));
        for bad in [&b""[..], b"nan", b"inf", b"-inf", b"1.5e", b"x", b"\xff", b"1.5\0"] {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back(seconds in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            prop_assert_eq!(parse(format(seconds).as_bytes()), Some(seconds));
        }
    }
}
