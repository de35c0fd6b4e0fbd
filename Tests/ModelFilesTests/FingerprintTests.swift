import TestSupport
import Testing

@testable import ModelFiles

@Suite struct Fingerprints {
    // The test vectors of the FNV hash's draft, for FNV-1a of 128 bits.
    @Test func `agree with the published ones`() {
        #expect(Fingerprint().description == "6c62272e07bb014262b821756295c58d")
        #expect(Fingerprint(of: "a".utf8).description == "d228cb696f1a8caf78912b704e4a8964")
        #expect(Fingerprint(of: "foobar".utf8).description == "343e1662793c64bf6f0d3597ba446f18")
    }

    @Test func `go on where they stopped`() {
        let bytes = [UInt8](0...250)
        var parts = Fingerprint(of: bytes[..<97])
        bytes[97...].withUnsafeBytes { parts.combine(bytes: $0) }
        #expect(parts == Fingerprint(of: bytes))
    }

    @Test func `differ when one bit does`() {
        var bytes = [UInt8](repeating: 7, count: 61)
        let whole = Fingerprint(of: bytes)
        for place in bytes.indices {
            for bit in 0..<8 {
                bytes[place] ^= 1 << bit
                #expect(Fingerprint(of: bytes) != whole)
                bytes[place] ^= 1 << bit
            }
        }
    }

    @Test func `are read back as they are written`() {
        let fingerprint = Fingerprint(of: [1, 2, 3])
        #expect(Fingerprint(fingerprint.description) == fingerprint)
        for text in ["", "12", String(repeating: "g", count: 32), "+" + String(repeating: "1", count: 31)] {
            #expect(Fingerprint(text) == nil)
        }
    }
}
