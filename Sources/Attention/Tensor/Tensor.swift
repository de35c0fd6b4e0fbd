/// An array of numbers of one type, in any number of dimensions.
///
/// A tensor is a value: a shape and strides over shared storage. Views (``slice(axis:range:)``,
/// ``transposed(_:_:)``, ``splittingHeads(_:)``, ``expanded(to:)``) copy nothing; writing copies first if
/// anyone else looks at the storage.
public struct Tensor: Sendable {
    /// The extent of each dimension; empty for a single number.
    public let shape: [Int]
    /// How many elements apart neighbours along each dimension are; 0 where a dimension is repeated.
    public let strides: [Int]
    /// How an element is stored.
    public let elementType: ElementType

    var storage: TensorStorage
    /// The first element, counted in elements from the storage's start.
    let offset: Int
    /// How it came about, where that is recorded.
    let node: GradientNode?

    init(
        shape: [Int], strides: [Int], elementType: ElementType, storage: TensorStorage, offset: Int,
        node: GradientNode? = nil
    ) {
        self.node = node
        self.shape = shape
        self.strides = strides
        self.elementType = elementType
        self.storage = storage
        self.offset = offset
    }

    /// Creates a tensor whose elements are not set.
    init(uninitialized shape: [Int], elementType: ElementType) {
        self.init(
            shape: shape, strides: Tensor.contiguousStrides(of: shape), elementType: elementType,
            storage: TensorStorage(byteCount: Tensor.elementCount(of: shape) * elementType.byteCount), offset: 0)
    }

    /// Creates a tensor of zeros.
    ///
    /// - Parameters:
    ///   - shape: The extent of each dimension, each at least 0.
    ///   - elementType: How an element is stored.
    public init(zeros shape: [Int], elementType: ElementType = .float32) {
        self.init(uninitialized: shape, elementType: elementType)
        storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: storage.byteCount)
    }

    /// Creates a floating-point tensor of one number, repeated.
    ///
    /// - Parameters:
    ///   - value: Every element.
    ///   - shape: The extent of each dimension, each at least 0.
    ///   - elementType: float32 or float64.
    public init(filledWith value: Double, shape: [Int], elementType: ElementType = .float32) {
        self.init(uninitialized: shape, elementType: elementType)
        switch elementType {
        case .float32: pointer(as: Float.self).update(repeating: Float(value), count: elementCount)
        case .float64: pointer(as: Double.self).update(repeating: value, count: elementCount)
        default: stop("A tensor is filled with float32 or float64 numbers, not with \(elementType).")
        }
    }

    /// Creates a float32 tensor from numbers in row-major order.
    ///
    /// - Parameters:
    ///   - values: As many as the shape has elements.
    ///   - shape: The extent of each dimension.
    public init(_ values: [Float], shape: [Int]) {
        self.init(copying: values, shape: shape, elementType: .float32)
    }

    /// Creates a float64 tensor from numbers in row-major order.
    ///
    /// - Parameters:
    ///   - values: As many as the shape has elements.
    ///   - shape: The extent of each dimension.
    public init(_ values: [Double], shape: [Int]) {
        self.init(copying: values, shape: shape, elementType: .float64)
    }

    /// Creates an int32 tensor from numbers in row-major order.
    ///
    /// - Parameters:
    ///   - values: As many as the shape has elements.
    ///   - shape: The extent of each dimension.
    public init(_ values: [Int32], shape: [Int]) {
        self.init(copying: values, shape: shape, elementType: .int32)
    }

    /// Creates a boolean tensor from values in row-major order.
    ///
    /// - Parameters:
    ///   - values: As many as the shape has elements.
    ///   - shape: The extent of each dimension.
    public init(_ values: [Bool], shape: [Int]) {
        self.init(copying: values.map { $0 ? UInt8(1) : 0 }, shape: shape, elementType: .bool)
    }

    private init<Element>(copying values: [Element], shape: [Int], elementType: ElementType) {
        require(
            values.count == Tensor.elementCount(of: shape),
            "\(values.count) values do not fill the shape \(shape), which has \(Tensor.elementCount(of: shape)).")
        self.init(uninitialized: shape, elementType: elementType)
        values.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { storage.base.copyMemory(from: source, byteCount: bytes.count) }
        }
    }

    /// Creates a tensor from the bytes of its elements in row-major order, which are copied.
    ///
    /// - Parameters:
    ///   - bytes: Little-endian elements, of any alignment.
    ///   - shape: The extent of each dimension.
    ///   - elementType: How an element is stored.
    public init(copying bytes: UnsafeRawBufferPointer, shape: [Int], elementType: ElementType) {
        self.init(uninitialized: shape, elementType: elementType)
        require(
            bytes.count == storage.byteCount,
            "\(bytes.count) bytes do not fill \(elementType) \(shape), which has \(storage.byteCount).")
        if let source = bytes.baseAddress {
            storage.base.copyMemory(from: source, byteCount: bytes.count)
        }
    }

    /// Creates a tensor over memory that somebody else owns, without copying it.
    ///
    /// - Parameters:
    ///   - bytes: Elements in row-major order, aligned for their type; they must not change.
    ///   - owner: Keeps `bytes` alive.
    ///   - shape: The extent of each dimension.
    ///   - elementType: How an element is stored.
    public init(
        sharing bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, shape: [Int],
        elementType: ElementType
    ) {
        let needed = Tensor.elementCount(of: shape) * elementType.byteCount
        require(bytes.count == needed, "\(bytes.count) bytes do not fill \(elementType) \(shape): \(needed).")
        require(
            Int(bitPattern: bytes.baseAddress) % elementType.byteCount == 0,
            "The bytes are not aligned to \(elementType.byteCount); copy them instead.")
        self.init(
            shape: shape, strides: Tensor.contiguousStrides(of: shape), elementType: elementType,
            storage: TensorStorage(sharing: bytes, owner: owner), offset: 0)
    }

    // MARK: - Shape

    /// The number of dimensions.
    public var rank: Int { shape.count }

    /// The number of elements.
    public var elementCount: Int { Tensor.elementCount(of: shape) }

    /// Whether the elements lie side by side in row-major order.
    public var isContiguous: Bool {
        var expected = 1
        for axis in shape.indices.reversed() where shape[axis] != 1 {
            if strides[axis] != expected { return false }
            expected *= shape[axis]
        }
        return true
    }

    static func elementCount(of shape: [Int]) -> Int {
        var count = 1
        for extent in shape {
            require(extent >= 0, "The shape \(shape) has a negative extent.")
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            require(!overflow, "The shape \(shape) has more elements than fit in memory.")
            count = product
        }
        return count
    }

    static func contiguousStrides(of shape: [Int]) -> [Int] {
        var strides = shape
        for axis in shape.indices.reversed() {
            strides[axis] = axis + 1 < shape.count ? strides[axis + 1] * max(1, shape[axis + 1]) : 1
        }
        return strides
    }

    // MARK: - Memory

    /// The address of the first element.
    var base: UnsafeMutableRawPointer { storage.base + offset * elementType.byteCount }

    /// The elements' address, to be read as `type`; the caller keeps the tensor alive.
    func pointer<Element>(as type: Element.Type) -> UnsafeMutablePointer<Element> {
        base.assumingMemoryBound(to: type)
    }

    /// Gives the bytes of the elements in row-major order to `body`, copying them together first if need be.
    ///
    /// - Parameter body: Must not let the pointer escape.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let whole = contiguous()
        defer { withExtendedLifetime(whole) {} }
        return try body(UnsafeRawBufferPointer(start: whole.base, count: whole.elementCount * elementType.byteCount))
    }

    /// Copies the storage unless this tensor alone holds it, so that it may be written.
    mutating func makeUnique() {
        if !isKnownUniquelyReferenced(&storage) || !storage.isWritable || !isContiguous {
            self = copied(to: elementType)
        } else {
            self = detached
        }
    }
}
