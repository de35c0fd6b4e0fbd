/// How one element of a tensor is stored.
public enum ElementType: String, Sendable, CaseIterable {
    /// IEEE 754 binary32.
    case float32
    /// IEEE 754 binary16.
    case float16
    /// The upper half of a binary32: 8 bits of exponent, 7 of significand.
    case bfloat16
    /// IEEE 754 binary64.
    case float64
    /// Signed, 32 bits.
    case int32
    /// Signed, 64 bits.
    case int64
    /// One byte, 0 or 1.
    case bool

    /// The bytes that one element takes.
    public var byteCount: Int {
        switch self {
        case .bool: 1
        case .float16, .bfloat16: 2
        case .float32, .int32: 4
        case .float64, .int64: 8
        }
    }

    /// Whether elements are floating-point numbers.
    public var isFloatingPoint: Bool {
        switch self {
        case .float16, .bfloat16, .float32, .float64: true
        case .int32, .int64, .bool: false
        }
    }
}
