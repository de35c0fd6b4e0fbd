import Attention
import Testing

@Suite struct Tensors {
    private let counted = Tensor((0..<24).map { Float($0) }, shape: [2, 3, 4])

    @Test func `elements lie in row-major order`() {
        #expect(counted.shape == [2, 3, 4])
        #expect(counted.strides == [12, 4, 1])
        #expect(counted.rank == 3)
        #expect(counted.elementCount == 24)
        #expect(counted.isContiguous)
        #expect(counted[1, 2, 3] == 23)
        #expect(counted.doubles == (0..<24).map { Double($0) })
        #expect(Tensor([Float(7)], shape: [])[] == 7)
    }

    @Test func `views show the same elements without copying`() {
        let sliced = counted.slice(axis: 1, range: 1..<3).slice(axis: -1, range: 2..<3)
        #expect(sliced.shape == [2, 2, 1])
        #expect(sliced.strides == counted.strides)
        #expect(sliced.floats == [6, 10, 18, 22])
        let transposed = counted.transposed(0, -1)
        #expect(transposed.shape == [4, 3, 2])
        #expect(transposed.strides == [1, 4, 12])
        #expect(!transposed.isContiguous)
        #expect(transposed.contiguous().isContiguous)
        #expect(transposed.contiguous().floats == transposed.floats)
        #expect(transposed.floats.prefix(4) == [0, 12, 4, 16])
        #expect(counted.slice(axis: 0, range: 1..<1).floats == [])
        let repeated = Tensor([Float(1), 2], shape: [2, 1]).expanded(to: [3, 2, 2])
        #expect(repeated.strides == [0, 1, 0])
        #expect(repeated.floats == [1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2])
    }

    @Test func `shapes change without changing the elements' order`() {
        #expect(counted.reshaped(to: [4, 6])[3, 5] == 23)
        #expect(counted.transposed(1, 2).reshaped(to: [24]).floats.prefix(5) == [0, 4, 8, 1, 5])
        #expect(Tensor(zeros: [0, 3]).reshaped(to: [3, 0]).shape == [3, 0])
        // [B, T, H·D] to [B, H, T, D] and back.
        let wide = Tensor((0..<24).map { Float($0) }, shape: [2, 3, 4])
        let heads = wide.splittingHeads(2)
        #expect(heads.shape == [2, 2, 3, 2])
        #expect(heads[1, 1, 2, 0] == wide[1, 2, 2])
        #expect(heads.mergingHeads().floats == wide.floats)
        #expect(heads.contiguous().mergingHeads().floats == wide.floats)
    }

    @Test(arguments: ElementType.allCases.filter(\.isFloatingPoint))
    func `every floating-point type keeps what it can hold`(type: ElementType) {
        let numbers = [0, -0.0, 1, -2.5, 96, 0x1p-14, .infinity, -.infinity, .nan]
        let tensor = Tensor(numbers, shape: [3, 3]).converted(to: type)
        #expect(tensor.elementType == type)
        #expect(zip(tensor.doubles, numbers).allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN })
        let strided = tensor.transposed(0, 1)
        #expect(strided.doubles[1] == -2.5)
        #expect(strided.contiguous().doubles[1] == -2.5)
        #expect(strided.converted(to: .float64).doubles[3] == 0)
        #expect(strided.converted(to: .float32).floats[4] == 96)
        #expect(tensor[1, 1] == 96)
    }

    @Test func `conversions round to the nearest, ties to even`() {
        let halves = Tensor([1 + 0x1p-11, 1 + 0x3p-11, 65_519, 65_520, 0x1p-25, 0x3p-26], shape: [6])
            .converted(to: .float16)
        #expect(halves.doubles == [1, 1 + 0x1p-9, 65_504, .infinity, 0, 0x1p-24])
        let upper = Tensor([1 + 0x1p-8, 1 + 0x3p-8, 0x1.FFp127], shape: [3]).converted(to: .bfloat16)
        #expect(upper.doubles == [1, 1 + 0x1p-6, .infinity])
        // Just beside a tie, by less than float32 can tell: rounding twice would take it for the tie.
        let beside = Tensor([1 + 0x1p-11 + 0x1p-40, 1 + 0x3p-11 - 0x1p-40, 1 + 0x1p-8 + 0x1p-40], shape: [3])
        #expect(beside.converted(to: .float16).doubles.prefix(2) == [1 + 0x1p-10, 1 + 0x1p-10])
        #expect(beside.converted(to: .bfloat16).doubles[2] == 1 + 0x1p-7)
        #expect(Tensor([1 + 0x1p-24 + 0x1p-50], shape: [1]).converted(to: .float32).floats == [1 + 0x1p-23])
    }

    @Test func `all 65,536 halves survive float32`() {
        for type in [ElementType.float16, .bfloat16] {
            let patterns = (0...UInt16.max).map { $0 }
            let halves = patterns.withUnsafeBytes { Tensor(copying: $0, shape: [65_536], elementType: type) }
            let back = halves.converted(to: .float32).converted(to: type)
            back.withUnsafeBytes { bytes in
                let returned = bytes.assumingMemoryBound(to: UInt16.self)
                let numbers = halves.floats
                let changed = patterns.indices.filter { !numbers[$0].isNaN && returned[$0] != patterns[$0] }
                #expect(changed == [])
            }
            let nanCount = halves.floats.count { $0.isNaN }
            #expect(nanCount == (type == .float16 ? 2 * 1023 : 2 * 127))
            #expect(back.floats.count { $0.isNaN } == nanCount)
        }
    }

    @Test func `integers and booleans are read as they are`() {
        let integers = Tensor([Int32(-3), 0, .max], shape: [3])
        #expect(integers.integers == [-3, 0, 2_147_483_647])
        #expect(integers.doubles == [-3, 0, 2_147_483_647])
        let booleans = Tensor([true, false, true, true], shape: [2, 2]).transposed(0, 1)
        #expect(booleans.integers == [1, 1, 0, 1])
        #expect(booleans.elementType == .bool)
        let long = [Int64(1) << 40, -7].withUnsafeBytes {
            Tensor(copying: $0, shape: [2], elementType: .int64)
        }
        #expect(long.integers == [1 << 40, -7])
    }

    @Test func `memory of another owner is shared, not copied`() {
        final class Owner: Sendable {
            let bytes: [Float] = [1, 2, 3, 4]
        }
        let owner = Owner()
        owner.bytes.withUnsafeBytes { bytes in
            let tensor = Tensor(sharing: bytes, owner: owner, shape: [2, 2], elementType: .float32)
            #expect(tensor.transposed(0, 1).floats == [1, 3, 2, 4])
            tensor.withUnsafeBytes { #expect($0.baseAddress == bytes.baseAddress) }
        }
    }

    @Test func `sums and products broadcast`() {
        let row = Tensor([Float(10), 20, 30, 40], shape: [4])
        #expect((counted + row)[1, 0, 2] == 44)
        #expect((counted * Tensor([Float(2), 3], shape: [2, 1, 1]))[1, 2, 3] == 69)
        #expect((counted.transposed(0, 2) + counted.transposed(0, 2)).floats.prefix(3) == [0, 24, 8])
        let halves = counted.converted(to: .float16)
        #expect((halves + halves).elementType == .float32)
        #expect((Tensor(zeros: [0, 4]) + row).shape == [0, 4])
    }

    @Test func `buffers that are reused do not shine through`() {
        for _ in 0..<100 {
            _ = Tensor([Float](repeating: .nan, count: 1000), shape: [1000])
            #expect(Tensor(zeros: [1000]).floats.allSatisfy { $0 == 0 })
        }
    }

    // Words of four bytes are turned in blocks, others one by one.
    @Test(arguments: [ElementType.float32, .float64, .bfloat16])
    func `copies of permuted tensors have their elements`(type: ElementType) {
        let (batch, channels, height, width) = (3, 19, 5, 17)
        let numbers = (0..<batch * channels * height * width).map { Float($0 % 251) }
        let first = Tensor(numbers, shape: [batch, channels, height, width]).converted(to: type)
        let last = first.transposed(1, 2).transposed(2, 3).contiguous()
        #expect(last.isContiguous && last.shape == [batch, height, width, channels])
        let elements = last.doubles
        for place in elements.indices {
            let (channel, column) = (place % channels, place / channels % width)
            let (row, image) = (place / channels / width % height, place / channels / width / height)
            let index = ((image * channels + channel) * height + row) * width + column
            #expect(elements[place] == Double(numbers[index]))
        }
        #expect(last.transposed(2, 3).transposed(1, 2).contiguous().doubles == first.doubles)
        let part = first.slice(axis: 1, range: 2..<13).transposed(1, 3)
        #expect(part.contiguous().doubles == part.doubles)
    }
}
