/// Finds which of many texts begin at a place, in one walk over the bytes there.
///
/// The children of a node lie side by side in the order of their bytes.
struct ByteTrie: Sendable {
    private struct Node {
        var firstChild: Int32 = 0
        var childCount: Int16 = 0
        /// The byte that leads here.
        var byte: UInt8
        /// What the text that ends here stands for, or -1.
        var value: Int32 = -1
    }

    private var nodes: [Node] = [Node(byte: 0)]
    /// The root's child for each byte, or -1.
    private var first = [Int32](repeating: -1, count: 256)

    /// Creates a trie; of several equal texts the last counts, and empty ones are left out.
    init(_ texts: [(text: ArraySlice<UInt8>, value: Int32)]) {
        let sorted = texts.enumerated().filter { !$0.element.text.isEmpty }.sorted { left, right in
            let (leftText, rightText) = (left.element.text, right.element.text)
            if leftText.elementsEqual(rightText) { return left.offset < right.offset }
            return leftText.lexicographicallyPrecedes(rightText)
        }.map(\.element)
        // Each node, in order, with the texts that go through it, all of which agree in `depth` bytes.
        var pending: [(texts: Range<Int>, depth: Int)] = [(0..<sorted.count, 0)]
        var index = 0
        while index < pending.count {
            var (range, depth) = pending[index]
            while let text = range.first, sorted[text].text.count == depth {
                nodes[index].value = sorted[text].value
                range.removeFirst()
            }
            nodes[index].firstChild = Int32(truncatingIfNeeded: nodes.count)
            while let text = range.first {
                let byte = sorted[text].text[sorted[text].text.startIndex + depth]
                var end = text
                while end < range.upperBound, sorted[end].text[sorted[end].text.startIndex + depth] == byte { end += 1 }
                if index == 0 { first[Int(byte)] = Int32(truncatingIfNeeded: nodes.count) }
                nodes.append(Node(byte: byte))
                nodes[index].childCount += 1
                pending.append((text..<end, depth + 1))
                range = end..<range.upperBound
            }
            index += 1
        }
    }

    /// Calls `body` with the end and the value of each text that begins at `start`, the shortest first.
    @inline(__always)
    func forEachMatch(in text: UnsafeRawBufferPointer, from start: Int, _ body: (Int, Int32) -> Void) {
        guard start < text.count else { return }
        nodes.withUnsafeBufferPointer { nodes in
            var node = Int(first[Int(text[start])])
            var offset = start + 1
            while node >= 0 {
                if nodes[node].value >= 0 { body(offset, nodes[node].value) }
                guard offset < text.count else { return }
                node = Self.child(of: nodes[node], text[offset], nodes)
                offset += 1
            }
        }
    }

    /// Returns the end and the value of the longest text that begins at `start`, or `nil`.
    @inline(__always)
    func longestMatch(in text: UnsafeRawBufferPointer, from start: Int) -> (end: Int, value: Int32)? {
        var longest: (end: Int, value: Int32)?
        forEachMatch(in: text, from: start) { longest = ($0, $1) }
        return longest
    }

    private static func child(of node: Node, _ byte: UInt8, _ nodes: UnsafeBufferPointer<Node>) -> Int {
        var low = Int(node.firstChild)
        let end = low + Int(node.childCount)
        var high = end
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle].byte < byte { low = middle + 1 } else { high = middle }
        }
        return low < end && nodes[low].byte == byte ? low : -1
    }
}
