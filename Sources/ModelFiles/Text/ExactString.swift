/// A string that equals another only if their UTF-8 bytes are the same.
///
/// `String` itself takes canonically equivalent strings for equal: `é` as one scalar and as two would be one
/// name, although a file's author wrote two.
struct ExactString: Hashable, Sendable {
    let string: String

    init(_ string: String) {
        self.string = string
    }

    static func == (left: Self, right: Self) -> Bool {
        var (left, right) = (left.string, right.string)
        return left.withUTF8 { left in right.withUTF8 { right in left.elementsEqual(right) } }
    }

    func hash(into hasher: inout Hasher) {
        var string = string
        string.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
