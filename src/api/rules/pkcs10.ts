/**
 * PKCS #10 certificate requests (RFC 2986): parsing and verification of the signature. Node has no function for it, and
 * the package that signs certificates works asynchronously, which validation cannot.
 *
 *   CertificationRequest     ::= SEQUENCE { info, signatureAlgorithm, signature BIT STRING }
 *   CertificationRequestInfo ::= SEQUENCE { version, subject Name, subjectPublicKeyInfo, [0] attributes }
 */
import { createPublicKey, verify } from 'node:crypto';

export interface CertificateRequest {
  /** Organizations of the subject, in their order: groups of the user. */
  organizations: readonly string[];
  /** The subject's first common name: the user's name. */
  commonName: string | undefined;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  der: Buffer;
}

interface Element {
  tag: number;
  /** With tag and length. */
  whole: Buffer;
  content: Buffer;
}

const SEQUENCE = 0x30;
const SET = 0x31;
const OBJECT_IDENTIFIER = 0x06;
const BIT_STRING = 0x03;
const UNIVERSAL_STRING = 0x1c;
const BMP_STRING = 0x1e;
/** id-at-organizationName 2.5.4.10, id-at-commonName 2.5.4.3 (RFC 5280, appendix A.1). */
const ORGANIZATION = '55040a';
const COMMON_NAME = '550403';

/** Hashes by the signature algorithm's identifier in hexadecimal (RFC 4055, RFC 5758, RFC 8410). */
const HASHES: Readonly<Record<string, string | null>> = {
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2b6570': null,
};

/** The elements of a constructed DER value (X.690 §8.1). @throws Error if a length exceeds the data */
function elements(der: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < der.length; ) {
    const tag = der[at]!;
    let length = der[at + 1] ?? 0;
    let start = at + 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0 || octets > 4 || start + octets > der.length) throw new Error('asn1: invalid length');
      length = der.readUIntBE(start, octets);
      start += octets;
    }
    if (start + length > der.length) throw new Error('asn1: syntax error: data truncated');
    found.push({ tag, whole: der.subarray(at, start + length), content: der.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** The members of a value that must be constructed like this. */
function members(element: Element | undefined, tag: number, least: number): Element[] {
  const inner = element?.tag === tag ? elements(element.content) : [];
  if (inner.length < least) throw new Error('asn1: structure error: not a certificate request');
  return inner;
}

/** What a CertificateSigningRequest asks for: PEM in base64. @throws Error as below */
export const decodeCertificateRequest = (request: string): CertificateRequest =>
  parseCertificateRequest(Buffer.from(request, 'base64').toString('latin1'));

/** @throws Error with a reason if the text is no request, or its signature is not that of its public key */
export function parseCertificateRequest(pem: string): CertificateRequest {
  const block = /-----BEGIN ([^-\n]+)-----\s*([A-Za-z0-9+/=\s]*?)-----END \1-----/.exec(pem);
  if (block?.[1] !== 'CERTIFICATE REQUEST') throw new Error('PEM block type must be CERTIFICATE REQUEST');
  const der = Buffer.from(block[2]!, 'base64');
  const [request, ...trailing] = elements(der);
  if (trailing.length > 0) throw new Error('asn1: syntax error: trailing data');
  const [info, algorithm, signature] = members(request, SEQUENCE, 3);
  const [, subject, publicKey] = members(info, SEQUENCE, 3);
  const [identifier] = members(algorithm, SEQUENCE, 1);
  const hash = HASHES[identifier!.content.toString('hex')];
  if (identifier!.tag !== OBJECT_IDENTIFIER || hash === undefined || signature?.tag !== BIT_STRING) {
    throw new Error('x509: cannot verify signature: algorithm unimplemented');
  }
  const key = createPublicKey({ key: publicKey!.whole, format: 'der', type: 'spki' });
  // The first octet of a bit string counts its unused bits.
  if (!verify(hash, info!.whole, key, signature.content.subarray(1))) {
    throw new Error(`x509: ${key.asymmetricKeyType === 'ec' ? 'ECDSA' : key.asymmetricKeyType} verification failure`);
  }
  const [commonName] = attributesOf(subject!, COMMON_NAME);
  return { organizations: attributesOf(subject!, ORGANIZATION), commonName, publicKey: publicKey!.whole, der };
}

function attributesOf(subject: Element, wanted: string): string[] {
  const texts: string[] = [];
  for (const relative of members(subject, SEQUENCE, 0)) {
    for (const attribute of members(relative, SET, 1)) {
      const [type, value] = members(attribute, SEQUENCE, 2);
      if (type!.content.toString('hex') === wanted) texts.push(textOf(value!));
    }
  }
  return texts;
}

/** A DirectoryString (RFC 5280, appendix A.1). A BMPString has two bytes for each character; Go knows no UniversalString. */
function textOf({ tag, content }: Element): string {
  if (tag === UNIVERSAL_STRING) throw new Error('x509: unsupported string type: UniversalString');
  return tag === BMP_STRING ? Buffer.from(content).swap16().toString('utf16le') : content.toString('utf8');
}
