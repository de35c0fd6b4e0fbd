/// A number that records what is computed from it.
///
/// A measure's ``Similarity/score(query:key:)``, called with such numbers, gives its own derivatives, exact to rounding.
/// Comparisons, and so branches, go by the value; rounding to integers has derivative 0.
@frozen public struct RecordedScalar<Value: AttentionScalar>: AttentionScalar, @unchecked Sendable {
    // Safe: it lives on one thread, in one call of `score`.
    /// The number itself.
    public var value: Value
    /// Where its derivative will stand; -1 for a constant.
    @usableFromInline var place: Int32
    /// Owned by whoever calls `score`; `nil` for a constant.
    @usableFromInline var recording: UnsafeMutablePointer<ScoreRecording<Value>>?

    @inlinable init(_ value: Value, _ place: Int32, _ recording: UnsafeMutablePointer<ScoreRecording<Value>>?) {
        self.value = value
        self.place = place
        self.recording = recording
    }

    /// A constant.
    @inlinable init(constant value: Value) {
        self.init(value, -1, nil)
    }

    /// The result of a function of one number.
    @inlinable init(_ value: Value, from x: RecordedScalar, _ derivative: Value) {
        guard let recording = x.recording else {
            self.init(constant: value)
            return
        }
        let place = recording.pointee.add(.init(x.place, derivative, -1, 0))
        self.init(value, place, recording)
    }

    /// The result of a function of two numbers.
    @inlinable init(
        _ value: Value, from x: RecordedScalar, _ derivative: Value, _ y: RecordedScalar, _ secondDerivative: Value
    ) {
        guard let recording = x.recording ?? y.recording else {
            self.init(constant: value)
            return
        }
        let place = recording.pointee.add(.init(x.place, derivative, y.place, secondDerivative))
        self.init(value, place, recording)
    }
}

// MARK: - Arithmetic and functions

extension RecordedScalar {
    /// Returns the sum of two numbers.
    @inlinable public static func + (x: RecordedScalar, y: RecordedScalar) -> RecordedScalar {
        RecordedScalar(x.value + y.value, from: x, 1, y, 1)
    }

    /// Returns the difference of two numbers.
    @inlinable public static func - (x: RecordedScalar, y: RecordedScalar) -> RecordedScalar {
        RecordedScalar(x.value - y.value, from: x, 1, y, -1)
    }

    /// Returns the product of two numbers.
    @inlinable public static func * (x: RecordedScalar, y: RecordedScalar) -> RecordedScalar {
        RecordedScalar(x.value * y.value, from: x, y.value, y, x.value)
    }

    /// Returns the quotient of two numbers.
    @inlinable public static func / (x: RecordedScalar, y: RecordedScalar) -> RecordedScalar {
        let quotient = x.value / y.value
        return RecordedScalar(quotient, from: x, 1 / y.value, y, -quotient / y.value)
    }

    /// Adds a number.
    @inlinable public static func += (x: inout RecordedScalar, y: RecordedScalar) { x = x + y }

    /// Subtracts a number.
    @inlinable public static func -= (x: inout RecordedScalar, y: RecordedScalar) { x = x - y }

    /// Multiplies by a number.
    @inlinable public static func *= (x: inout RecordedScalar, y: RecordedScalar) { x = x * y }

    /// Divides by a number.
    @inlinable public static func /= (x: inout RecordedScalar, y: RecordedScalar) { x = x / y }

    /// Returns the number with the other sign.
    @inlinable public static prefix func - (x: RecordedScalar) -> RecordedScalar {
        RecordedScalar(-x.value, from: x, -1)
    }

    /// Changes the sign.
    @inlinable public mutating func negate() { self = -self }

    /// The absolute value; its derivative is the sign, and 0 at 0.
    @inlinable public var magnitude: RecordedScalar {
        RecordedScalar(value.magnitude, from: self, value == 0 ? 0 : value.sign == .minus ? -1 : 1)
    }

    /// Replaces the number by its square root.
    @inlinable public mutating func formSquareRoot() {
        let root = value.squareRoot()
        self = RecordedScalar(root, from: self, 1 / (2 * root))
    }

    /// Adds a product, rounded once.
    @inlinable public mutating func addProduct(_ x: RecordedScalar, _ y: RecordedScalar) {
        var sum = value
        sum.addProduct(x.value, y.value)
        self = RecordedScalar(sum, from: self, 1, RecordedScalar(x.value * y.value, from: x, y.value, y, x.value), 1)
    }

    /// Replaces the number by its remainder, the quotient rounded to the nearest.
    @inlinable public mutating func formRemainder(dividingBy y: RecordedScalar) {
        let remainder = value.remainder(dividingBy: y.value)
        self = RecordedScalar(remainder, from: self, 1, y, -((value - remainder) / y.value).rounded())
    }

    /// Replaces the number by its remainder, the quotient rounded towards 0.
    @inlinable public mutating func formTruncatingRemainder(dividingBy y: RecordedScalar) {
        let remainder = value.truncatingRemainder(dividingBy: y.value)
        self = RecordedScalar(remainder, from: self, 1, y, -((value - remainder) / y.value).rounded())
    }

    /// Returns eˣ.
    @inlinable public static func exp(_ x: RecordedScalar) -> RecordedScalar {
        let power = Value.exp(x.value)
        return RecordedScalar(power, from: x, power)
    }

    /// Returns the natural logarithm.
    @inlinable public static func log(_ x: RecordedScalar) -> RecordedScalar {
        RecordedScalar(.log(x.value), from: x, 1 / x.value)
    }

    /// Returns the hyperbolic tangent.
    @inlinable public static func tanh(_ x: RecordedScalar) -> RecordedScalar {
        let tanh = Value.tanh(x.value)
        return RecordedScalar(tanh, from: x, 1 - tanh * tanh)
    }
}

// MARK: - Comparisons, by the value

extension RecordedScalar {
    /// Returns whether the values are equal.
    @inlinable public static func == (x: RecordedScalar, y: RecordedScalar) -> Bool { x.value == y.value }

    /// Returns whether the first value is smaller.
    @inlinable public static func < (x: RecordedScalar, y: RecordedScalar) -> Bool { x.value < y.value }

    /// Returns whether the first value is smaller or equal.
    @inlinable public static func <= (x: RecordedScalar, y: RecordedScalar) -> Bool { x.value <= y.value }

    /// Returns whether the first value is larger.
    @inlinable public static func > (x: RecordedScalar, y: RecordedScalar) -> Bool { x.value > y.value }

    /// Returns whether the first value is larger or equal.
    @inlinable public static func >= (x: RecordedScalar, y: RecordedScalar) -> Bool { x.value >= y.value }

    /// Returns whether the values are equal.
    @inlinable public func isEqual(to other: RecordedScalar) -> Bool { value == other.value }

    /// Returns whether this value is smaller.
    @inlinable public func isLess(than other: RecordedScalar) -> Bool { value < other.value }

    /// Returns whether this value is smaller or equal.
    @inlinable public func isLessThanOrEqualTo(_ other: RecordedScalar) -> Bool { value <= other.value }

    /// Hashes the value.
    @inlinable public func hash(into hasher: inout Hasher) { value.hash(into: &hasher) }

    /// Returns the difference from this number to another.
    @inlinable public func distance(to other: RecordedScalar) -> RecordedScalar { other - self }

    /// Returns the sum of this number and another.
    @inlinable public func advanced(by distance: RecordedScalar) -> RecordedScalar { self + distance }
}

// MARK: - Constants and parts

extension RecordedScalar {
    /// The type of differences.
    public typealias Stride = RecordedScalar
    /// The value's.
    public typealias Exponent = Value.Exponent
    /// The value's.
    public typealias RawExponent = Value.RawExponent
    /// The value's.
    public typealias RawSignificand = Value.RawSignificand
    /// The value's.
    public typealias FloatLiteralType = Value.FloatLiteralType
    /// The value's.
    public typealias IntegerLiteralType = Value.IntegerLiteralType

    /// Creates a constant.
    @inlinable public init(floatLiteral value: Value.FloatLiteralType) {
        self.init(constant: Value(floatLiteral: value))
    }

    /// Creates a constant.
    @inlinable public init(integerLiteral value: Value.IntegerLiteralType) {
        self.init(constant: Value(integerLiteral: value))
    }

    /// Creates a constant.
    @inlinable public init(_ value: Float) { self.init(constant: Value(value)) }

    /// Creates a constant.
    @inlinable public init(_ value: Double) { self.init(constant: Value(value)) }

    /// Creates a constant.
    @inlinable public init(_ value: Int) { self.init(constant: Value(value)) }

    /// Creates a constant.
    @inlinable public init<Source: BinaryInteger>(_ value: Source) { self.init(constant: Value(value)) }

    /// Creates a constant, if the type has the number.
    @inlinable public init?<Source: BinaryInteger>(exactly value: Source) {
        guard let value = Value(exactly: value) else { return nil }
        self.init(constant: value)
    }

    /// Creates a constant from its parts.
    @inlinable public init(sign: FloatingPointSign, exponent: Exponent, significand: RecordedScalar) {
        self.init(constant: Value(sign: sign, exponent: exponent, significand: significand.value))
    }

    /// Creates a constant from another's sign and magnitude.
    @inlinable public init(signOf sign: RecordedScalar, magnitudeOf magnitude: RecordedScalar) {
        let value = Value(signOf: sign.value, magnitudeOf: magnitude.value)
        let isKept = value.sign == magnitude.value.sign
        self.init(value, from: magnitude, isKept ? 1 : -1)
    }

    /// Creates a constant from its bits.
    @inlinable public init(
        sign: FloatingPointSign, exponentBitPattern: RawExponent, significandBitPattern: RawSignificand
    ) {
        self.init(
            constant: Value(
                sign: sign, exponentBitPattern: exponentBitPattern, significandBitPattern: significandBitPattern))
    }

    /// The value type's.
    @inlinable public static var radix: Int { Value.radix }
    /// Not a number.
    @inlinable public static var nan: RecordedScalar { RecordedScalar(constant: .nan) }
    /// Not a number; it signals.
    @inlinable public static var signalingNaN: RecordedScalar { RecordedScalar(constant: .signalingNaN) }
    /// Infinity.
    @inlinable public static var infinity: RecordedScalar { RecordedScalar(constant: .infinity) }
    /// The value type's largest number.
    @inlinable public static var greatestFiniteMagnitude: RecordedScalar {
        RecordedScalar(constant: .greatestFiniteMagnitude)
    }
    /// π.
    @inlinable public static var pi: RecordedScalar { RecordedScalar(constant: .pi) }
    /// The value type's smallest normal number.
    @inlinable public static var leastNormalMagnitude: RecordedScalar {
        RecordedScalar(constant: .leastNormalMagnitude)
    }
    /// The value type's smallest number above 0.
    @inlinable public static var leastNonzeroMagnitude: RecordedScalar {
        RecordedScalar(constant: .leastNonzeroMagnitude)
    }
    /// The value type's.
    @inlinable public static var exponentBitCount: Int { Value.exponentBitCount }
    /// The value type's.
    @inlinable public static var significandBitCount: Int { Value.significandBitCount }

    /// The unit in the last place.
    @inlinable public var ulp: RecordedScalar { RecordedScalar(constant: value.ulp) }
    /// The value's.
    @inlinable public var sign: FloatingPointSign { value.sign }
    /// The value's.
    @inlinable public var exponent: Exponent { value.exponent }
    /// The value's, a constant.
    @inlinable public var significand: RecordedScalar { RecordedScalar(constant: value.significand) }
    /// The value's, a constant.
    @inlinable public var binade: RecordedScalar { RecordedScalar(constant: value.binade) }
    /// The value's.
    @inlinable public var significandWidth: Int { value.significandWidth }
    /// The value's.
    @inlinable public var exponentBitPattern: RawExponent { value.exponentBitPattern }
    /// The value's.
    @inlinable public var significandBitPattern: RawSignificand { value.significandBitPattern }
    /// The next number above, a constant.
    @inlinable public var nextUp: RecordedScalar { RecordedScalar(constant: value.nextUp) }
    /// Whether the value is normal.
    @inlinable public var isNormal: Bool { value.isNormal }
    /// Whether the value is a number, and finite.
    @inlinable public var isFinite: Bool { value.isFinite }
    /// Whether the value is 0.
    @inlinable public var isZero: Bool { value.isZero }
    /// Whether the value is subnormal.
    @inlinable public var isSubnormal: Bool { value.isSubnormal }
    /// Whether the value is infinite.
    @inlinable public var isInfinite: Bool { value.isInfinite }
    /// Whether the value is no number.
    @inlinable public var isNaN: Bool { value.isNaN }
    /// Whether the value is no number, and signals.
    @inlinable public var isSignalingNaN: Bool { value.isSignalingNaN }
    /// Whether the value has its one usual form.
    @inlinable public var isCanonical: Bool { value.isCanonical }

    /// Rounds to an integer; the derivative is 0.
    @inlinable public mutating func round(_ rule: FloatingPointRoundingRule) {
        self = RecordedScalar(constant: value.rounded(rule))
    }
}
