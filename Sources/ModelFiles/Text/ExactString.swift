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
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    func hash(into hasher: inout Hasher) {
        for byte in string.utf8 {
            hasher.combine(byte)
        }
    }
}
