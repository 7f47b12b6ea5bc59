//! The parts of DER that certificates and private keys of every age need: versions, validity, public keys, scalars.
//!
//! Takes bytes; gives slices of them, or `None` for what is cut or is another structure. Judges nothing.

/// What Faro needs of a certificate, of X.509 version 1 and 3 alike.
pub(super) struct Certificate<'a> {
    pub(super) public_key: PublicKey<'a>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// Of which kind a key is, and its bytes: a point of a curve, an RSA modulus and exponent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// The parameters: the OID of the curve, where there is one.
    pub(super) curve: &'a [u8],
    pub(super) bytes: &'a [u8],
}

/// Reads one element after the other.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

pub(super) const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

impl<'a> Elements<'a> {
    /// The tag and the contents of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x81..=0x84 => {
                let (long, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
                (long.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The contents of the next element, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }

    fn take_sequence(&mut self) -> Option<Self> {
        self.take(SEQUENCE).map(Elements)
    }
}

/// Takes a certificate apart.
pub(super) fn certificate(der: &[u8]) -> Option<Certificate<'_>> {
    let mut fields = Elements(der).take_sequence()?.take_sequence()?;
    // Version 1 says nothing about its version.
    if fields.0.first() == Some(&CONTEXT_0) {
        fields.next()?;
    }
    fields.take(INTEGER)?;
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut validity = fields.take_sequence()?;
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    fields.take(SEQUENCE)?;
    Some(Certificate { public_key: public_key(fields.take_sequence()?)?, not_before, not_after })
}

/// The public key that a whole `SubjectPublicKeyInfo` holds.
pub(super) fn subject_public_key(der: &[u8]) -> Option<PublicKey<'_>> {
    public_key(Elements(der).take_sequence()?)
}

fn public_key(mut fields: Elements<'_>) -> Option<PublicKey<'_>> {
    let mut algorithm = fields.take_sequence()?;
    algorithm.take(OID)?;
    let curve = algorithm.take(OID).unwrap_or_default();
    // The first byte counts unused bits, of which keys have none.
    let bytes = fields.take(BIT_STRING)?.split_first()?.1;
    Some(PublicKey { curve, bytes })
}

/// The scalar of an EC private key, in PKCS#8 or SEC1.
pub(super) fn ec_scalar(der: &[u8]) -> Option<&[u8]> {
    let mut fields = Elements(der).take_sequence()?;
    fields.take(INTEGER)?;
    match fields.next()? {
        (OCTET_STRING, scalar) => Some(scalar),
        (SEQUENCE, _) => ec_scalar(fields.take(OCTET_STRING)?),
        _ => None,
    }
}

/// The `RSAPrivateKey` in PKCS#1 or PKCS#8.
#[cfg(feature = "every-key")]
pub(super) fn rsa_private_key(der: &[u8]) -> Option<&[u8]> {
    let whole = Elements(der).take_sequence()?;
    let mut fields = whole;
    fields.take(INTEGER)?;
    match fields.next()? {
        (INTEGER, _) => Some(whole.0),
        (SEQUENCE, _) => rsa_private_key(fields.take(OCTET_STRING)?),
        _ => None,
    }
}

/// A number without leading zeros.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

/// A number with as many leading zeros as make it `length` bytes; `None` where it is longer.
pub(super) fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let number = significant(number);
    Some([&*vec![0; length.checked_sub(number.len())?], number].concat())
}

/// Wraps `contents` into an element.
pub(super) fn wrap(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => element.push(short),
        Ok(long) => element.extend([0x81, long]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(length).expect("a key's element has less than 64 KiB").to_be_bytes());
        }
    }
    contents.iter().for_each(|part| element.extend_from_slice(part));
    element
}

/// Of a certificate, which has whole seconds in UTC: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let mut digits = text.strip_suffix(b"Z")?;
    let mut number = |length: usize| {
        let (part, rest) = digits.split_at_checked(length)?;
        digits = rest;
        std::str::from_utf8(part).ok()?.parse::<i64>().ok()
    };
    let year = match tag {
        // RFC 5280, 4.1.2.5.1.
        UTC_TIME => number(2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
        GENERALIZED_TIME => number(4)?,
        _ => return None,
    };
    let (month, day, hour, minute, second) = (number(2)?, number(2)?, number(2)?, number(2)?, number(2)?);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Of the Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_seconds_since_1970() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some("1970-01-01T00:00:00Z")),
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20240229120304Z", Some("2024-02-29T12:03:04Z")),
            (GENERALIZED_TIME, "99991231235959Z", Some("9999-12-31T23:59:59Z")),
            (GENERALIZED_TIME, "21000301000000Z", Some("2100-03-01T00:00:00Z")),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "700101000000", None),
            (OID, "700101000000Z", None),
        ] {
            let expected =
                expected.map(|text| text.parse::<jiff::Timestamp>().map_or(253_402_300_799, jiff::Timestamp::as_second));
            assert_eq!(time((tag, text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_nothing() {
        let key = rcgen::KeyPair::generate().unwrap();
        let whole = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let found = certificate(whole.der()).unwrap();
        assert!(found.public_key.bytes.len() == 65 && found.not_before < found.not_after);
        // Everything up to the end of the public key is needed.
        let needed = memchr::memmem::find(whole.der(), found.public_key.bytes).unwrap() + found.public_key.bytes.len();
        assert!((0..needed).all(|length| certificate(&whole.der()[..length]).is_none()));
        let scalar = ec_scalar(key.serialized_der()).unwrap();
        assert_eq!(scalar.len(), 32);
        assert!((0..60).all(|length| ec_scalar(&key.serialized_der()[..length]).is_none()));
    }
}
