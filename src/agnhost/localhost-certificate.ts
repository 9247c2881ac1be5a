/**
 * A certificate for localhost, 127.0.0.1 and ::1 until 2126, signed with its own key, as the image agnhost has one. The key is no
 * secret: clients that verify certificates do not accept it.
 *
 *   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost \\
 *     -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1
 */
export const LOCALHOST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBrjCCAVSgAwIBAgIUHkC0F1eiAAQvgTwM704P0XVmYscwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODE2MjMxNVoYDzIxMjYxMTA0
MTYyMzE1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASMjLynqcIWO2XurHUYiuHEKwI8VEPavNrn9xXXpOkYPW60iPaJXABW
tX4rc5S2yNaTEWXE5jHmRvr9myoNTRzio4GBMH8wHQYDVR0OBBYEFKFYSyNpaKQf
NrDkEPuF2hqAU2JZMB8GA1UdIwQYMBaAFKFYSyNpaKQfNrDkEPuF2hqAU2JZMA8G
A1UdEwEB/wQFMAMBAf8wLAYDVR0RBCUwI4IJbG9jYWxob3N0hwR/AAABhxAAAAAA
AAAAAAAAAAAAAAABMAoGCCqGSM49BAMCA0gAMEUCIBAAjEh19xyNW+5jJY4TBSEy
CYTeWwENZ1jFBnPjX3BRAiEAxChvbhepEKl4mRwJN27CFet+F06oOPXBpVwZAkSe
l/Q=
-----END CERTIFICATE-----
`;

export const LOCALHOST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkaUgky40Z5FibPS1
3qLfQa88XMZn8InJo7BJfy4DNmKhRANCAASMjLynqcIWO2XurHUYiuHEKwI8VEPa
vNrn9xXXpOkYPW60iPaJXABWtX4rc5S2yNaTEWXE5jHmRvr9myoNTRzi
-----END PRIVATE KEY-----
`;
