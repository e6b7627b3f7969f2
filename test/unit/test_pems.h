#ifndef TEST_PEMS_H
#define TEST_PEMS_H

/* Keys that protect nothing but tests. */
static const char cert_text[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfTCCASOgAwIBAgIUbVkoSZeRzWBvdsK9XOQfrS+uQAkwCgYIKoZIzj0EAwIw\n"
    "EzERMA8GA1UEAwwIb25lLnRlc3QwIBcNMjYxMTIyMTYzMzM0WhgPMjEyNjEwMjkx\n"
    "NjMzMzRaMBMxETAPBgNVBAMMCG9uZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAEVVkeubejMJVRcgmKL4I2Vbdm5mFqYfs3l8aueiy6gMOTadfhLyT3pIjk\n"
    "KcTftchqdrFWlO7tjhjZ/bCyPRCZSqNTMFEwHQYDVR0OBBYEFOKIXgVnb8aUdaHI\n"
    "ZF0AUD3z2cFGMB8GA1UdIwQYMBaAFOKIXgVnb8aUdaHIZF0AUD3z2cFGMA8GA1Ud\n"
    "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAN6mxFm7UhjC7kvCvyJabbHj\n"
    "45QFbWCJkNPKGXg1Kf5JAiA3BeY37PwgBlYsNy48yehqkDYL70ISjYNxLzaRwJnV\n"
    "jw==\n"
    "-----END CERTIFICATE-----\n";
static const char key_text[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9b/2mYDlvLc86QOq\n"
    "9D111TckqkBLEtIR6WXoa+wFkCWhRANCAARVWR65t6MwlVFyCYovgjZVt2bmYWph\n"
    "+zeXxq56LLqAw5Np1+EvJPekiOQpxN+1yGp2sVaU7u2OGNn9sLI9EJlK\n"
    "-----END PRIVATE KEY-----\n";
static const char other_key_text[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT8t10HEvNP5ttc1x\n"
    "jH0rTGCPnoI2bJmh3kUrDlmhC8GhRANCAAQHOmdrgMd6Ld+1gFWQdx1GQ8u9mPNN\n"
    "1UUrtzaMLwPRJe/+nNjp/rk5pdOEjd9wj03izrOs5dZ3gEbis3coc5cA\n"
    "-----END PRIVATE KEY-----\n";
static const char passphrase_key_text[] __attribute__((unused)) =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAieQ1xX9ZrjkAICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEELLnAjdgkBJ2RA0luq8mDI8EgZB2\n"
    "VrynLFkYLdW+wxelcZrvQKIL6SK+fVYqEWi0S8/QaAVWirR3it3W7CiPRXtzHXM7\n"
    "OH3BTH+RKamj9+Am5fA8M21sA8YkeR01+UKSVmaoltVpk3vVrKiw30kR8pdSlRYZ\n"
    "MAVHChD+2rKY6sTfom2HjqzOxrGEffwLk+hDCEN/pLuH5K1dQFDR+pih+HGNgcg=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char other_type_key_text[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIHgiT49dopq9fhpQbjXoiVkVtVQoDUUmjXe/hfkg+CDT\n"
    "-----END PRIVATE KEY-----\n";
/* Of the first key, run out. */
static const char expired_cert_text[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBIDCBxwIUXsGjSWS0DJAIyPDHEevEsufDylYwCgYIKoZIzj0EAwIwEzERMA8G\n"
    "A1UEAwwIb2xkLnRlc3QwHhcNMjYxMTIyMTYzMzM0WhcNMjYxMTIxMTYzMzM0WjAT\n"
    "MREwDwYDVQQDDAhvbGQudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFVZ\n"
    "Hrm3ozCVUXIJii+CNlW3ZuZhamH7N5fGrnosuoDDk2nX4S8k96SI5CnE37XIanax\n"
    "VpTu7Y4Y2f2wsj0QmUowCgYIKoZIzj0EAwIDSAAwRQIhAL9ZW17iopJQ3F1LPSu3\n"
    "CN+wJlhDvzgnoMPrE+e+m1mQAiBOaf7bFBi3CR7AASsON+lCnnRCngKbqIGB4LSL\n"
    "n1+Kyw==\n"
    "-----END CERTIFICATE-----\n";

#endif
