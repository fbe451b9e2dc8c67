module gitee.com/captainjez/gocart/hack/tools/pause

go 1.26.0
