package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"gitee.com/captainjez/gocart/hack/internal/images"
)

var imageCommand = command{
	name:    "image",
	summary: "build the named images into dist/images and print their references; --load, --tag TAG, --verify-reproducible, --list",
	run:     buildImages,
}

func buildImages(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	load := flags.Bool("load", false, "load the images into the cluster, unless they are there")
	list := flags.Bool("list", false, "print the names of all images")
	verify := flags.Bool("verify-reproducible", false, "build each image twice and compare the digests")
	var tags []string
	flags.Func("tag", "tag for images of ours instead of \""+images.DefaultTag+"\"; may be given again for one more build", func(tag string) error {
		tags = append(tags, tag)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, image := range images.All() {
			fmt.Println(image.Name)
		}
		return nil
	}
	if flags.NArg() == 0 {
		return errors.New("image: name at least one, or --list")
	}
	if len(tags) == 0 {
		tags = []string{""}
	}
	if *verify {
		return verifyReproducible(ctx, flags.Args(), tags[0])
	}
	builder, err := images.NewBuilder(os.Stderr)
	if err != nil {
		return err
	}
	var built []images.Built
	for _, name := range flags.Args() {
		for _, tag := range tags {
			image, err := builder.Build(ctx, name, tag)
			if err != nil {
				return err
			}
			fmt.Println(image.References[0], image.Digest)
			built = append(built, image)
		}
	}
	if *load {
		config, err := images.Kubeconfig(ctx, builder.Root)
		if err != nil {
			return err
		}
		return images.Load(ctx, builder.Root, config, os.Stderr, built...)
	}
	return nil
}

// verifyReproducible builds twice into new folders and compares.
func verifyReproducible(ctx context.Context, names []string, tag string) error {
	for _, name := range names {
		first, err := buildAfresh(ctx, name, tag)
		if err != nil {
			return err
		}
		second, err := buildAfresh(ctx, name, tag)
		if err != nil {
			return err
		}
		if first != second {
			return fmt.Errorf("two builds of %s differ: %s and %s", name, first, second)
		}
		fmt.Println(name, "is the same twice:", first)
	}
	return nil
}

// buildAfresh builds into a folder that is removed again, and returns the digest.
func buildAfresh(ctx context.Context, name, tag string) (string, error) {
	builder, err := images.NewBuilder(os.Stderr)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(builder.Out, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(builder.Out), "reproduce-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	builder.Out, builder.Force = dir, true
	image, err := builder.Build(ctx, name, tag)
	return image.Digest, err
}
