//! Keys as text: base64 or hexadecimal.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// 32 bytes as base64 (44 characters, 43 without padding; either alphabet) or 64 hexadecimal digits.
pub(crate) fn read(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 => hex(text.as_bytes())?,
        44 => STANDARD.decode(text).ok().or_else(|| URL_SAFE_NO_PAD.decode(text.strip_suffix('=')?).ok())?,
        43 => STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?,
        _ => return None,
    };
    bytes.try_into().ok()
}

/// 32 bytes as 44 characters of base64.
pub(crate) fn write(bytes: &[u8; 32]) -> String {
    STANDARD.encode(bytes)
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| u8::try_from(char::from(*byte).to_digit(16)?).ok();
    text.chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_as_the_same() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 37 % 256).unwrap());
        let (base64, hex) = (write(&bytes), bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let url = base64.replace('+', "-").replace('/', "_");
        for text in [&base64, &hex, &hex.to_uppercase(), base64.trim_end_matches('='), &url, url.trim_end_matches('=')]
        {
            assert_eq!(read(text), Some(bytes), "{text}");
        }
        for text in ["", "AAAA", &hex[1..], &format!("{}g", &hex[1..]), &"ü".repeat(32), &"*".repeat(43)] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
